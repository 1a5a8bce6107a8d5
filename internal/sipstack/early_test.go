package sipstack

import (
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"
)

// jammed is a Congestion under which everything but REGISTER is refused that
// has waited for longer than a tenth of a second, with another Retry-After each
// time.
type jammed struct {
	waited chan time.Duration
	asked  int
}

func (j *jammed) Waited(d time.Duration) { j.waited <- d }

func (j *jammed) Late(_ *Flow, method string, waited time.Duration) (time.Duration, bool) {
	j.asked++
	return time.Duration(j.asked) * time.Second, waited > 100*time.Millisecond && method != "REGISTER"
}

// TestEarly shows requests to a stack that is jammed, one after the other.
func TestEarly(t *testing.T) {
	u := newUser()
	s := run(t, Config{Congestion: &jammed{}}, u)
	f := s.newFlow(nil, UDP, peerAddr, peerAddr)
	var sent []string
	f.datagram = func(p []byte, _ netip.AddrPort) error { sent = append(sent, string(p)); return nil }
	invite := request("INVITE", "z9hG4bKlate")
	toTagged := func(text string) string {
		return strings.Replace(text, "To: <sip:bob@example.com>", "To: <sip:bob@example.com>;tag=b1", 1)
	}
	if toTagged(invite) == invite {
		t.Fatal("the request has another To")
	}
	_, far := pipe(t, s, WS)
	if err := far.Send(request("OPTIONS", "z9hG4bKserves")); err != nil {
		t.Fatal(err)
	}
	next(t, u.requests) // it serves
	s.receive(f, request("INVITE", "z9hG4bKbefore"))
	_ = next(t, u.requests).Reply(180, "Ringing") // no 100 of the timer's from now on
	sent = nil

	for _, row := range []struct {
		name, raw string
		waited    time.Duration
		done      bool
		sends     int
	}{
		{"in time", invite, 0, false, 0},
		{"late", invite, time.Second, true, 1},
		{"again, in time", invite, 0, true, 1},
		{"another one in time", request("INVITE", "z9hG4bKother"), 0, false, 0},
		{"let in before", request("INVITE", "z9hG4bKbefore"), time.Second, false, 0},
		{"in a dialog", toTagged(request("INVITE", "z9hG4bKdialog")), time.Second, false, 0},
		{"BYE", toTagged(request("BYE", "z9hG4bKbye")), time.Second, false, 0},
		{"CANCEL", request("CANCEL", "z9hG4bKlate"), time.Second, false, 0},
		{"ACK of a call", strings.Replace(toTagged(request("ACK", "z9hG4bKack")), "CSeq: 1 INVITE", "CSeq: 1 ACK", 1), time.Second, false, 0},
		{"REGISTER that refreshes", request("REGISTER", "z9hG4bKregister"), time.Second, false, 0},
		{"MESSAGE", request("MESSAGE", "z9hG4bKmessage"), time.Second, true, 1},
		{"response", answer(invite, "200 OK"), time.Second, false, 0},
		{"CSeq of another method", strings.Replace(request("INVITE", "z9hG4bKcseq"), "1 INVITE", "1 BYE", 1), time.Second, false, 0},
		{"no Call-ID", strings.Replace(request("INVITE", "z9hG4bKnoid"), "Call-ID", "X-ID", 1), time.Second, false, 0},
		{"nothing", "", time.Second, false, 0},
	} {
		before := len(sent)
		if done := s.early(f, row.raw, row.waited); done != row.done || len(sent)-before != row.sends {
			t.Errorf("%s: got %v and %d answers, want %v and %d", row.name, done, len(sent)-before, row.done, row.sends)
		}
	}
	first, again := sent[0], sent[1]
	if first != again || !strings.HasPrefix(first, "SIP/2.0 503 ") || header(first, "Retry-After") == nil || !strings.Contains(header(first, "To")[0], ";tag=") {
		t.Errorf("got %q, and then %q", first, again)
	}
	ack := strings.NewReplacer("INVITE", "ACK", "To: <sip:bob@example.com>", "To: "+header(first, "To")[0]).Replace(invite)
	if before := len(sent); !s.early(f, ack, 0) || len(sent) != before {
		t.Error("the ACK to the refusal goes on")
	}
}

// TestRefusalTags has callees whose addresses look like tags.
func TestRefusalTags(t *testing.T) {
	s := run(t, Config{Congestion: &jammed{}}, newUser())
	f := s.newFlow(nil, UDP, peerAddr, peerAddr)
	var sent string
	f.datagram = func(p []byte, _ netip.AddrPort) error { sent = string(p); return nil }
	for i, to := range []string{
		"<sip:stage@example.com>", "<sip:bob@vintage.example>;x=y", "sip:montag@example.com", "<sip:bob@example.com;tag=uri>",
		"\"tag=1\" <sip:bob@example.com>",
	} {
		invite := strings.Replace(request("INVITE", "z9hG4bKtag"+string(rune('a'+i))), "To: <sip:bob@example.com>", "To: "+to, 1)
		if !s.early(f, invite, time.Second) {
			t.Fatalf("%s is not refused", to)
		}
		got := header(sent, "To")[0]
		if want := to + ";tag=w"; !strings.HasPrefix(got, want) {
			t.Errorf("got To %s, want %s…", got, want)
		}
	}
}

// TestWaited asks a real socket how long a datagram has waited.
func TestWaited(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux knows")
	}
	j := &jammed{waited: make(chan time.Duration, 1)}
	s := run(t, Config{Congestion: j}, echoUser(), UDP)
	c := connect(t, "udp", listenerOf(t, s, UDP).Addr())
	c.send(c.request("REGISTER", "z9hG4bK1"))
	c.expect("SIP/2.0 200")
	if d := next(t, j.waited); d < 0 || d > time.Minute {
		t.Errorf("got %v", d)
	}
}

// BenchmarkEarlyRefusal is a call that is refused, INVITE and ACK, without the
// system's share.
func BenchmarkEarlyRefusal(b *testing.B) {
	s := run(b, Config{Congestion: &jammed{}}, newUser())
	f := s.newFlow(nil, UDP, peerAddr, peerAddr)
	var sent []byte
	f.datagram = func(p []byte, _ netip.AddrPort) error { sent = p; return nil }
	invite := strings.Replace(webInvite, "SIP/2.0/WSS df7jal23ls0d.invalid", "SIP/2.0/UDP 192.0.2.44:5060", 1)
	if !s.early(f, invite, time.Second) {
		b.Fatal("not refused")
	}
	to := header(string(sent), "To")[0]
	ack := strings.NewReplacer("INVITE", "ACK", "To: <sip:600@example.com>", "To: "+to).Replace(invite)
	b.ReportAllocs()
	for b.Loop() {
		if !s.early(f, invite, time.Second) || !s.early(f, ack, 0) {
			b.Fatal("not refused")
		}
	}
}
