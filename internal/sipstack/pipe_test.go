package sipstack

import (
	"testing"

	"github.com/emiago/sipgo/sip"
)

func TestRegisterOverPipe(t *testing.T) {
	u := newUser()
	s := run(t, Config{}, u)
	near, far := pipe(t, s, WS)
	if got, ok := s.Flow(near.ID()); !ok || got != near {
		t.Fatalf("flow %d is not found", near.ID())
	}
	via := "SIP/2.0/WS df7jal23ls0d.invalid;branch=z9hG4bKabc;rport"
	err := far.Send(text("REGISTER sip:example.com SIP/2.0", "v: "+via, "f: <sip:a@example.com>;tag=1", "t: <sip:a@example.com>",
		"i: 1", "CSeq: 1 REGISTER", "m: <sip:a@df7jal23ls0d.invalid;transport=ws>;expires=200", "k: path"))
	if err != nil {
		t.Fatal(err)
	}
	tx := next(t, u.requests)
	if got := tx.Request().GetHeader("Supported"); got == nil || got.Value() != "path" {
		t.Errorf("Supported: got %v", got)
	}
	if got := tx.Request().From().Params.GetOr("tag", ""); got != "1" {
		t.Errorf("From tag: got %q", got)
	}
	if err := tx.Reply(200, "OK", sip.NewHeader("Expires", "60")); err != nil {
		t.Fatal(err)
	}
	got := expect(t, far, "SIP/2.0 200 OK\r\n")
	if v := header(got, "Via"); len(v) != 1 || v[0] != via {
		t.Errorf("Via: got %q, want %q", v, via)
	}
	if v := header(got, "Expires"); len(v) != 1 || v[0] != "60" {
		t.Errorf("Expires: got %q", v)
	}
	far.Close()
	if f := next(t, u.closed); f != near {
		t.Errorf("FlowClosed: got %v", f)
	}
	if _, ok := s.Flow(near.ID()); ok {
		t.Error("the flow is still found")
	}
}
