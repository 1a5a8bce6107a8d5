package pbx

import (
	"testing"

	"github.com/emiago/sipgo/sip"
	"github.com/icholy/digest"
)

// FuzzCredentials: whatever stands in an Authorization header, it lets nobody
// in who does not know a password, and does no harm.
func FuzzCredentials(f *testing.F) {
	a, _ := testAuthenticator()
	good := digest.Credentials{
		Username: "1000", Realm: "demo.example", Nonce: a.nonce(here), URI: "sip:demo.example", Algorithm: "SHA-256",
		Response: "00", Cnonce: "x", QOP: "auth", Nc: 1,
	}
	f.Add(good.String())
	f.Add(`Digest username="1000",realm="demo.example",nonce="",uri="",response=""`)
	f.Add(`digest username="\"", realm=demo.example, nc=ffffffff, qop="auth,auth-int"`)
	f.Add("Basic MTAwMDpzZWNyZXQ=")
	f.Fuzz(func(t *testing.T, text string) {
		a, _ := testAuthenticator()
		if user, v := a.check("REGISTER", []string{text}, here); v == granted || user != "" {
			t.Errorf("%q was let in as %q", text, user)
		}
		a.concerns(text)
	})
}

// FuzzRegistration: no REGISTER makes more bindings than a user may have, nor
// one that leads to a third party.
func FuzzRegistration(f *testing.F) {
	f.Add("<sip:x@192.0.2.7:5062>;expires=60", "60", "<sip:t@192.0.2.9;lr>")
	f.Add(`"A, B" <sip:x@h>;+sip.instance="<urn:uuid:1>";reg-id=1;q=0.5, <sip:y@h>`, "", "")
	f.Add("*", "0", "")
	f.Fuzz(func(t *testing.T, contact, expires, path string) {
		m, err := sip.ParseMessage([]byte("REGISTER sip:demo.example SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKx\r\n" +
			"From: <sip:1000@demo.example>;tag=a\r\nTo: <sip:1000@demo.example>\r\nCall-ID: a\r\nCSeq: 1 REGISTER\r\n" +
			"Contact: " + contact + "\r\nExpires: " + expires + "\r\nPath: " + path + "\r\nContent-Length: 0\r\n\r\n"))
		if err != nil {
			return
		}
		req, ok := m.(*sip.Request)
		if !ok || req.CallID() == nil || req.CSeq() == nil {
			return // the transaction layer refuses it
		}
		reg, err := parseRegistration(req, source)
		if err != nil {
			return
		}
		r := newRegistrar()
		rows, err := r.update("1000", reg)
		if err != nil || len(rows) > maxBindings {
			t.Fatalf("got %d bindings, %v", len(rows), err)
		}
		for _, b := range rows {
			if b.hop.Addr() != source.Addr() {
				t.Errorf("binding leads to %s", b.hop)
			}
			_ = b.header(r.now()).String()
		}
	})
}
