package pbx

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"

	"webrtc2sip/coder/g711"
	"webrtc2sip/internal/offeranswer"
)

// audio parses the description in a message and points the phone at it.
func (ph *phone) audio(m sip.Message) offeranswer.Media {
	ph.t.Helper()
	d, err := offeranswer.Parse(m.Body())
	if err != nil {
		ph.t.Fatalf("%v in\n%s", err, m.Body())
	}
	at, ok := d.Audio()
	if !ok {
		ph.t.Fatalf("no audio in\n%s", m.Body())
	}
	if d.Media[at].Port%2 != 0 {
		ph.t.Errorf("RTP on the odd port %d", d.Media[at].Port)
	}
	ph.to = d.Media[at].RTP()
	return d.Media[at]
}

// ended polls until no test call is left: the end of a call signals nobody, and its sockets are real, so time is, too.
func ended(t *testing.T, p *PBX) {
	t.Helper()
	for deadline := time.Now().Add(patient); ; time.Sleep(time.Millisecond) {
		p.mu.Lock()
		n := len(p.calls)
		p.mu.Unlock()
		if n == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d calls left", n)
		}
	}
}

func TestEcho(t *testing.T) {
	tests := []struct {
		name    string
		formats []string
		codec   string
		pt      uint8
	}{
		{"a browser's offer", []string{"111 opus/48000/2", "9 G722/8000", "0 PCMU/8000", "110 telephone-event/48000", "126 telephone-event/8000"}, "opus", 111},
		{"a phone's offer", []string{"18 G729/8000", "8 PCMA/8000", "0 PCMU/8000", "101 telephone-event/8000"}, "PCMA", 8},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, _ := startPBX(t, nil)
			u, ph := newUA(t, p, "1000"), newPhone(t)
			o := u.invite("sip:600@"+realm, ph.sdp("sendrecv", tt.formats...))
			m := ph.audio(o.established(""))
			if len(m.Formats) != 2 || m.Formats[0].Codec != tt.codec || !m.Formats[1].IsTelephoneEvent() ||
				m.Formats[0].ClockRate != m.Formats[1].ClockRate || m.Direction != offeranswer.SendRecv {
				t.Errorf("got %+v", m)
			}
			for i, pt := range []uint8{tt.pt, m.Formats[1].PayloadType, tt.pt} {
				payload := bytes.Repeat([]byte{byte(i)}, 160)
				ph.send(pt, payload)
				got := ph.receive(patient)
				if len(got) != 172 || got[1] != pt || !bytes.Equal(got[12:], payload) || binary.BigEndian.Uint16(got[2:]) != ph.seq {
					t.Fatalf("packet %d: got % x", i, got)
				}
				if binary.BigEndian.Uint32(got[8:]) == 0x11223344 {
					t.Error("echo under the sender's own SSRC")
				}
			}
			ph.send(77, []byte("not agreed on"))
			if got := ph.receive(50 * time.Millisecond); got != nil {
				t.Errorf("echo of a payload type that was not agreed on: % x", got)
			}
			o.bye()
			ended(t, p)
		})
	}
}

func TestHold(t *testing.T) {
	p, _ := startPBX(t, nil)
	u, ph := newUA(t, p, "1000"), newPhone(t)
	o := u.invite("sip:600@"+realm, ph.sdp("sendrecv", "0 PCMU/8000"))
	first := o.established("")
	ph.audio(first)
	version := func(m sip.Message) uint64 {
		d, err := offeranswer.Parse(m.Body())
		if err != nil {
			t.Fatal(err)
		}
		return d.Origin.Version
	}
	steps := []struct {
		method    sip.RequestMethod
		direction string
		want      offeranswer.Direction
		version   uint64
	}{
		{sip.INVITE, "sendonly", offeranswer.RecvOnly, 2},
		{sip.UPDATE, "sendonly", offeranswer.RecvOnly, 2}, // nothing changes
		{sip.INVITE, "inactive", offeranswer.Inactive, 3},
		{sip.INVITE, "recvonly", offeranswer.SendOnly, 4},
		{sip.UPDATE, "sendrecv", offeranswer.SendRecv, 5},
	}
	for _, s := range steps {
		req := o.inside(s.method)
		setSDP(req, ph.sdp(s.direction, "0 PCMU/8000"))
		var res *sip.Response
		if s.method == sip.INVITE {
			res = u.send(req).final()
			o.ok = res
			o.ack("")
		} else {
			res = u.once(req)
		}
		if res.StatusCode != 200 {
			t.Fatalf("%s %s: got %d", s.method, s.direction, res.StatusCode)
		}
		if m := ph.audio(res); m.Direction != s.want {
			t.Errorf("%s %s: got %v, want %v", s.method, s.direction, m.Direction, s.want)
		}
		if got := version(res); got != s.version {
			t.Errorf("%s %s: version %d, want %d", s.method, s.direction, got, s.version)
		}
		ph.send(0, []byte{1, 2, 3})
		wait := patient
		if s.want != offeranswer.SendRecv {
			wait = 50 * time.Millisecond
		}
		if got := ph.receive(wait); (got != nil) != (s.want == offeranswer.SendRecv) {
			t.Errorf("%s: echo % x", s.direction, got)
		}
	}

	// What can't be served changes nothing.
	req := o.inside(sip.UPDATE)
	setSDP(req, ph.sdp("sendrecv", "18 G729/8000"))
	if res := u.once(req); res.StatusCode != 488 {
		t.Errorf("UPDATE to another codec: got %d, want 488", res.StatusCode)
	}
	ph.send(0, []byte{4})
	if ph.receive(patient) == nil {
		t.Error("no echo after a refused offer")
	}
	o.bye()
}

func TestInsideACall(t *testing.T) {
	p, _ := startPBX(t, nil)
	u, ph := newUA(t, p, "1000"), newPhone(t)
	o := u.invite("sip:600@"+realm, ph.sdp("sendrecv", "0 PCMU/8000"))
	o.established("")
	for _, s := range []struct {
		method sip.RequestMethod
		code   int
	}{{sip.OPTIONS, 200}, {sip.INFO, 200}, {sip.UPDATE, 200}, {sip.REFER, 405}, {sip.BYE, 200}, {sip.INFO, 481}} {
		req := o.inside(s.method)
		if s.method == sip.INFO {
			kind := sip.ContentTypeHeader("application/dtmf-relay")
			req.AppendHeader(&kind)
			req.SetBody([]byte("Signal=5\r\nDuration=160\r\n"))
		}
		if res := u.once(req); res.StatusCode != s.code {
			t.Errorf("%s: got %d, want %d", s.method, res.StatusCode, s.code)
		}
	}
}

// TestDelayedOffer: INVITE without SDP, the offer in 200, the answer in ACK;
// the same again in a re-INVITE.
func TestDelayedOffer(t *testing.T) {
	p, _ := startPBX(t, nil)
	u, ph := newUA(t, p, "1000"), newPhone(t)
	o := u.invite("sip:600@"+realm, "")
	res := o.established(ph.sdp("sendrecv", "9 G722/8000"))
	if m := ph.audio(res); len(m.Formats) != 5 {
		t.Errorf("offer: got %+v", m.Formats)
	}
	echo := func() {
		t.Helper()
		// The ACK may be overtaken by RTP: send until it comes back.
		for deadline := time.Now().Add(patient); time.Now().Before(deadline); {
			ph.send(9, []byte{1})
			if ph.receive(20*time.Millisecond) != nil {
				return
			}
		}
		t.Fatal("no echo")
	}
	echo()
	re := u.send(o.inside(sip.INVITE))
	res = re.final()
	ph.audio(res)
	o.ok = res
	o.ack(ph.sdp("sendrecv", "9 G722/8000"))
	echo()
	o.bye()
	ended(t, p)
}

// TestBadAnswerInACK: the call is ended, since there is no other way to refuse.
func TestBadAnswerInACK(t *testing.T) {
	p, _ := startPBX(t, nil)
	u, ph := newUA(t, p, "1000"), newPhone(t)
	o := u.invite("sip:600@"+realm, "")
	o.established(ph.sdp("sendrecv", "18 G729/8000"))
	u.respond(u.incoming(sip.BYE), 200, "")
	ended(t, p)
}

func TestTone(t *testing.T) {
	tests := []struct {
		format string
		pt     uint8
		law    *g711.Law
	}{
		{"0 PCMU/8000", 0, g711.Mu},
		{"8 PCMA/8000", 8, g711.A},
	}
	for _, tt := range tests {
		t.Run(tt.format, func(t *testing.T) {
			p, _ := startPBX(t, nil)
			u, ph := newUA(t, p, "1000"), newPhone(t)
			o := u.invite("sip:601@"+realm, ph.sdp("sendrecv", "111 opus/48000/2", tt.format))
			ph.audio(o.established(""))
			var samples []float64
			var last []byte
			for len(samples) < 4000 {
				got := ph.receive(patient)
				if len(got) != 172 || got[1]&0x7f != tt.pt {
					t.Fatalf("got % x", got)
				}
				if last == nil && got[1]&0x80 == 0 {
					t.Error("no marker on the first packet")
				}
				if last != nil {
					// After a pause of the machine the tone goes on from where it
					// would be: later, and a whole number of packets later.
					step := binary.BigEndian.Uint32(got[4:]) - binary.BigEndian.Uint32(last[4:])
					if binary.BigEndian.Uint16(got[2:]) != binary.BigEndian.Uint16(last[2:])+1 || step == 0 || step%160 != 0 {
						t.Errorf("sequence or timestamp is not continuous: % x after % x", got[:8], last[:8])
					}
					if step != 160 {
						samples = nil
					}
				}
				last = got
				for _, b := range got[12:] {
					samples = append(samples, float64(tt.law.Linear(b)))
				}
			}
			// A sine of −12 dBm0 has 15.15 dB less than full scale.
			level := 20 * math.Log10(goertzel(samples, 440)/32768)
			if math.Abs(level+15.15) > 0.3 {
				t.Errorf("440 Hz: %.2f dB of full scale, want −15.15", level)
			}
			for _, f := range []float64{220, 350, 480, 880, 1320} {
				if other := 20 * math.Log10(goertzel(samples, f)/32768); other > level-35 {
					t.Errorf("%v Hz: %.1f dB beside %.1f", f, other, level)
				}
			}
			o.bye()
			ended(t, p)
		})
	}
}

// goertzel gives the amplitude of a frequency in samples of 8 kHz.
func goertzel(samples []float64, frequency float64) float64 {
	k := 2 * math.Cos(2*math.Pi*frequency/sampleRate)
	var s1, s2 float64
	for _, x := range samples {
		s1, s2 = x+k*s1-s2, s1
	}
	return 2 * math.Sqrt(s1*s1+s2*s2-k*s1*s2) / float64(len(samples))
}

func TestRingAndCancel(t *testing.T) {
	p, _ := startPBX(t, nil)
	u := newUA(t, p, "1000")
	o := u.invite("sip:602@"+realm, newPhone(t).sdp("sendrecv", "0 PCMU/8000"))
	if res := o.next(); res.StatusCode != 180 || tag(res.To().Params) == "" {
		t.Fatalf("got %d, want 180 with a tag", res.StatusCode)
	}
	if err := o.ct.Cancel(); err != nil {
		t.Fatal(err)
	}
	if got := o.final().StatusCode; got != 487 {
		t.Errorf("got %d, want 487", got)
	}
	ended(t, p)
}

// TestRingAgain: 180 is repeated, so that no proxy on the way gives up. It looks
// at the wire, since a transaction layer takes 180s that follow each other so
// closely for one.
func TestRingAgain(t *testing.T) {
	p, _ := startPBX(t, func(p *PBX) { p.timers.ring = 20 * time.Millisecond })
	u, wire := newUA(t, p, "1000"), newPhone(t)
	wire.to = p.Addr()
	send := func(req *sip.Request) {
		t.Helper()
		req.PrependHeader(&sip.ViaHeader{
			ProtocolName: "SIP", ProtocolVersion: "2.0", Transport: "UDP", Host: "127.0.0.1", Port: int(wire.port()),
			Params: sip.HeaderParams{{K: "branch", V: "z9hG4bK" + fmt.Sprint(req.CSeq().SeqNo)}},
		})
		if _, err := wire.conn.WriteToUDPAddrPort([]byte(req.String()), wire.to); err != nil {
			t.Fatal(err)
		}
	}
	receive := func(code int) *sip.Response {
		t.Helper()
		for {
			m, err := sip.ParseMessage(wire.receive(patient))
			if err != nil {
				t.Fatalf("no %d: %v", code, err)
			}
			if res := m.(*sip.Response); res.StatusCode == code {
				return res
			}
		}
	}
	req := u.request(sip.INVITE, "sip:602@"+realm)
	send(req)
	send(u.authorized(req, receive(407)))
	for range 3 {
		receive(180)
	}
}

// TestByeWhileRinging: the caller may end an early dialog by BYE too.
func TestByeWhileRinging(t *testing.T) {
	p, _ := startPBX(t, nil)
	u := newUA(t, p, "1000")
	o := u.invite("sip:602@"+realm, "")
	o.dialog(o.next())
	o.bye()
	if got := o.final().StatusCode; got != 487 {
		t.Errorf("got %d, want 487", got)
	}
}

// TestNoACK: the 200 is repeated, then the call is ended by BYE.
func TestNoACK(t *testing.T) {
	p, _ := startPBX(t, func(p *PBX) {
		p.timers.t1, p.timers.t2, p.timers.giveUp = 10*time.Millisecond, 40*time.Millisecond, 300*time.Millisecond
	})
	u := newUA(t, p, "1000")
	o := u.invite("sip:600@"+realm, newPhone(t).sdp("sendrecv", "0 PCMU/8000"))
	for range 3 {
		if res := o.final(); res.StatusCode != 200 {
			t.Fatalf("got %d, want 200", res.StatusCode)
		}
	}
	u.respond(u.incoming(sip.BYE), 200, "")
	ended(t, p)
}

// TestNoMedia: a call on which nothing is heard ends, one on hold does not.
func TestNoMedia(t *testing.T) {
	p, _ := startPBX(t, func(p *PBX) { p.timers.media = 100 * time.Millisecond })
	held, gone := newUA(t, p, "1000"), newUA(t, p, "1001")
	on := held.invite("sip:600@"+realm, newPhone(t).sdp("recvonly", "0 PCMU/8000"))
	on.established("")
	off := gone.invite("sip:601@"+realm, newPhone(t).sdp("sendrecv", "0 PCMU/8000"))
	off.established("")
	gone.respond(gone.incoming(sip.BYE), 200, "")
	on.bye()
	ended(t, p)
}

// TestByeUnanswered: a call ends although the peer is gone.
func TestByeUnanswered(t *testing.T) {
	p, _ := startPBX(t, func(p *PBX) { p.timers.media, p.timers.giveUp = 20*time.Millisecond, 100*time.Millisecond })
	u := newUA(t, p, "1000")
	u.invite("sip:601@"+realm, newPhone(t).sdp("sendrecv", "0 PCMU/8000")).established("")
	u.incoming(sip.BYE)
	ended(t, p)
}

// TestShutdown: Run ends the calls by BYE before it returns, and waits for
// nobody long.
func TestShutdown(t *testing.T) {
	p, stop := startPBX(t, func(p *PBX) { p.timers.drain = 200 * time.Millisecond })
	up, silent, ringing := newUA(t, p, "1000"), newUA(t, p, "1001"), newUA(t, p, "1002")
	up.invite("sip:600@"+realm, newPhone(t).sdp("sendrecv", "0 PCMU/8000")).established("")
	silent.invite("sip:601@"+realm, newPhone(t).sdp("sendrecv", "0 PCMU/8000")).established("")
	o := ringing.invite("sip:602@"+realm, "")
	if got := o.next().StatusCode; got != 180 {
		t.Fatalf("got %d, want 180", got)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		stop()
	}()
	up.respond(up.incoming(sip.BYE), 200, "")
	silent.incoming(sip.BYE)
	if got := o.final().StatusCode; got != 503 {
		t.Errorf("ringing call: got %d, want 503", got)
	}
	select {
	case <-done:
	case <-time.After(patient):
		t.Fatal("Run does not end")
	}
}

func TestManyCalls(t *testing.T) {
	p, _ := startPBX(t, nil)
	u, ph := newUA(t, p, "1000"), newPhone(t)
	for i := range 20 {
		o := u.invite("sip:600@"+realm, ph.sdp("sendrecv", "0 PCMU/8000"))
		ph.audio(o.established(""))
		ph.send(0, fmt.Append(nil, i))
		if got := ph.receive(patient); string(got[12:]) != fmt.Sprint(i) {
			t.Fatalf("call %d: got % x", i, got)
		}
		o.bye()
	}
	ended(t, p)
}
