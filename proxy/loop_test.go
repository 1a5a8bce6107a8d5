package proxy

import (
	"testing"

	"github.com/emiago/sipgo/sip"
)

// TestJourney: whatever decides about the way of a request makes another
// journey of it, also in a URI that the parser does not take apart.
func TestJourney(t *testing.T) {
	seen := map[uint64]string{}
	for _, text := range []string{
		"sip:a@h", "sips:a@h", "sip:b@h", "sip:a:p@h", "sip:a@i", "sip:a@h:5060", "sip:a@h;x", "sip:a@h;x=1", "sip:a@h;x=1;y=2", "sip:a@h?x=1", "tel:+1555", "tel:+1556",
	} {
		var u sip.Uri
		if err := sip.ParseUri(text, &u); err != nil {
			t.Fatal(text, err)
		}
		req := sip.NewRequest(sip.INVITE, u)
		req.AppendHeader(&sip.FromHeader{})
		req.AppendHeader(&sip.ToHeader{})
		for _, cseq := range []uint32{1, 2} {
			req.RemoveHeader("CSeq")
			req.AppendHeader(&sip.CSeqHeader{SeqNo: cseq, MethodName: sip.INVITE})
			h := journey(req, &u, nil)
			if other, ok := seen[h]; ok || h != journey(req, u.Clone(), nil) {
				t.Errorf("%s goes the way of %q, or not its own", text, other)
			}
			seen[h] = text
		}
	}
}
