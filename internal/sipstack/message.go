package sipstack

import (
	"bytes"
	"crypto/rand"

	"github.com/emiago/sipgo/sip"
)

// Tag gives a new From or To tag, or any other token that can't be guessed: 26
// letters and digits.
func Tag() string { return rand.Text() }

// branchCookie starts every branch of RFC 3261 (§8.1.1.7).
const branchCookie = "z9hG4bK"

// newBranch gives a branch for a transaction of ours.
func newBranch() string { return branchCookie + rand.Text() }

// NewResponse makes a response to req as RFC 3261 §8.2.6 says: From, To,
// Call-ID and CSeq of the request, Record-Route where a dialog may begin,
// Timestamp for 100. Via is left to ServerTransaction.Respond. So is a missing
// To tag: every response of a transaction gets the same.
func NewResponse(req *sip.Request, code int, reason string) *sip.Response {
	res := sip.NewResponse(code, reason)
	mayOpen := req.IsInvite() || req.Method == sip.SUBSCRIBE || req.Method == sip.REFER || req.Method == sip.NOTIFY
	for _, h := range req.Headers() {
		switch sip.HeaderToLower(h.Name()) {
		case "from", "to", "call-id", "cseq":
			res.AppendHeader(h)
		case "record-route":
			if mayOpen && code > 100 && code < 300 {
				res.AppendHeader(h)
			}
		case "timestamp":
			if code == sip.StatusTrying {
				res.AppendHeader(h)
			}
		}
	}
	res.SetBody(nil)
	return res
}

// marshal writes a message as it goes onto the wire.
func marshal(msg sip.Message) []byte {
	var b bytes.Buffer
	b.Grow(1024 + len(msg.Body()))
	msg.StringWrite(&b)
	return b.Bytes()
}
