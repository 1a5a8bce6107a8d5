package siprec

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"webrtc2sip/breaker/wire"
	"webrtc2sip/internal/offeranswer"
)

// sink is the media of a recording server: a pair of sockets.
type sink struct {
	t         *testing.T
	rtp, rtcp *net.UDPConn
}

func newSink(t *testing.T, ports *wire.Ports) sink {
	t.Helper()
	pair, err := ports.OpenPair(loopback)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pair.Close)
	return sink{t, pair.RTP, pair.RTCP}
}

func (s sink) port() uint16 { return s.rtp.LocalAddr().(*net.UDPAddr).AddrPort().Port() }

// packet waits for one.
func (s sink) packet() []byte {
	s.t.Helper()
	b := make([]byte, 2048)
	if err := s.rtp.SetReadDeadline(time.Now().Add(wait)); err != nil {
		s.t.Fatal(err)
	}
	n, err := s.rtp.Read(b)
	if err != nil {
		s.t.Fatal(err)
	}
	return b[:n]
}

// rtpPacket makes one with a payload.
func rtpPacket(payloadType uint8, sequence uint16, payload string) []byte {
	p := make([]byte, 12, 12+len(payload))
	p[0], p[1] = 0x80, 0x80|payloadType
	binary.BigEndian.PutUint16(p[2:], sequence)
	binary.BigEndian.PutUint32(p[4:], 160*uint32(sequence))
	binary.BigEndian.PutUint32(p[8:], 4711)
	return append(p, payload...)
}

// speak sends until a route stands, and goes on for as long as the other function wants it to.
func speak(tap *Tap, side offeranswer.Side, payloadType uint8, payload string, enough func() bool) {
	deadline := time.Now().Add(wait)
	for n := uint16(0); !enough() && time.Now().Before(deadline); n++ {
		tap.Packet(side, time.Duration(n)*pumpEvery, rtpPacket(payloadType, n, payload))
		time.Sleep(time.Millisecond)
	}
}

// TestMedia sends what both sides say to where the server wants it, in the payload types that it has chosen, and nothing
// for the section that it refuses.
func TestMedia(t *testing.T) {
	w := newWorld(t, Config{})
	defer w.stop()
	srs := w.server("192.0.2.1:5060")
	asked := make(chan string, 100)
	session, err := w.client.Start(Call{ID: "c1", Keyframe: func(stream int, side offeranswer.Side) { asked <- fmt.Sprint(stream, " ", side) }})
	if err != nil {
		t.Fatal(err)
	}
	red := offeranswer.Format{PayloadType: 63, Codec: "red", ClockRate: 48000, Channels: 2, FMTP: "111/111"}
	sound, pictures := session.Tap(0, false), session.Tap(1, true)
	for _, side := range []offeranswer.Side{caller, callee} {
		sound.SetFormats(side, []offeranswer.Format{opus, red, pcmu})
		pictures.SetFormats(side, []offeranswer.Format{vp8})
	}
	ports, err := wire.NewPorts(20000, 59999)
	if err != nil {
		t.Fatal(err)
	}
	left, right, film := newSink(t, ports), newSink(t, ports), newSink(t, ports)
	srs.records(
		fmt.Sprintf("audio %d RTP/AVP 96 0|rtpmap:96 opus/48000/2", left.port()), fmt.Sprintf("audio %d RTP/AVP 0", right.port()),
		fmt.Sprintf("video %d RTP/AVP 96|rtpmap:96 VP8/90000", film.port()), "video 0 RTP/AVP 96",
	)
	if got := <-asked; got != "1 caller" {
		t.Errorf("%s is asked for a key frame", got)
	}
	got := make(chan []byte, 3)
	for _, s := range []sink{left, right, film} {
		go func() { got <- s.packet() }()
	}
	speak(sound, caller, 111, "left", func() bool { return len(got) == 1 })
	speak(sound, callee, 0, "right", func() bool { return len(got) == 2 })
	speak(pictures, caller, 96, "film", func() bool { return len(got) == 3 })
	for _, want := range [][]byte{rtpPacket(96, 0, "left"), rtpPacket(0, 0, "right"), rtpPacket(96, 0, "film")} {
		if p := <-got; string(p[12:]) != string(want[12:]) || p[1] != want[1] || string(p[8:12]) != string(want[8:12]) {
			t.Errorf("got % x, want % x", p, want)
		}
	}

	go func() {
		for {
			if p := left.packet(); string(p[12:]) == "last" {
				got <- p
				return
			}
		}
	}()
	redundant := "\xef\x00\x00\x04\x6fleftlast" // a copy of 4 octets, then the primary encoding
	speak(sound, caller, 63, redundant, func() bool { return len(got) == 1 })
	if p := <-got; p[1] != 0x80|96 {
		t.Errorf("redundant data leaves as %d", p[1])
	}

	pli := []byte{0x81, 201, 0, 1, 0, 0, 0, 1, 0x81, 206, 0, 2, 0, 0, 0, 1, 0, 0, 0x12, 0x67}
	l := pictures.lines[caller].Load()
	for len(asked) == 0 {
		if _, err := film.rtcp.WriteToUDPAddrPort(pli, netip.AddrPortFrom(loopback, l.pair.Port()+1)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
	sound.Packet(caller, time.Hour, rtpPacket(0, 9999, "goodbye"))
	session.Stop()
	srs.reply(srs.want("BYE "), "200 OK", "")
	for string(left.packet()[12:]) != "goodbye" { // those of before are still in the socket
		continue
	}
	if s := w.client.Stats(); s.Packets < 4 {
		t.Errorf("got %+v", s)
	}
}

// TestForbiddenTargets: no answer sends media where it must not go.
func TestForbiddenTargets(t *testing.T) {
	w := newWorld(t, Config{})
	defer w.stop()
	session := newSession(w.client, Call{})
	tap := session.Tap(0, false)
	tap.SetFormats(caller, []offeranswer.Format{pcmu})
	tap.SetFormats(callee, []offeranswer.Format{pcmu})
	defer session.closeLines()
	session.ready()
	for _, l := range session.lines {
		if err := session.open(l, loopback); err != nil {
			t.Fatal(err)
		}
	}
	own := session.lines[1].pair.Port()
	for name, section := range map[string]string{
		"good":              "audio 4000 RTP/AVP 0",
		"a low port":        "audio 80 RTP/AVP 0",
		"our own port":      fmt.Sprintf("audio %d RTP/AVP 0", own),
		"our own RTCP port": fmt.Sprintf("audio %d RTP/AVP 0", own+1),
		"another profile":   "audio 4000 RTP/SAVP 0",
		"no format":         "audio 4000 RTP/AVP 8",
		"paused":            "audio 4000 RTP/AVP 0|inactive",
	} {
		d, err := offeranswer.Parse([]byte(sdp(section)))
		if err != nil {
			t.Fatal(err)
		}
		session.apply(d)
		if got := session.lines[0].route.Load() != nil; got != (name == "good") {
			t.Errorf("%s: sends %t", name, got)
		}
	}
}

// TestSenderReport reads the words of a compound packet.
func TestSenderReport(t *testing.T) {
	at := time.Unix(1000, 500_000_000)
	r := report{at: at}
	r.add(rtpPacket(0, 10, "0123456789"), 8000)
	r.at = at
	b := r.compound(at.Add(time.Second), "cname")
	word := func(i int) uint32 { return binary.BigEndian.Uint32(b[4*i:]) }
	if len(b)%4 != 0 || word(0) != 0x80c80006 || word(1) != 4711 || word(2) != 1001+ntpEpoch || word(3) != 1<<31 ||
		word(4) != 1600+8000 || word(5) != 1 || word(6) != 10 || word(7) != 0x81ca0003 || word(8) != 4711 || string(b[38:43]) != "cname" {
		t.Errorf("got % x", b)
	}
	r.add(append([]byte{0x90, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1, 0xbe, 0xde, 0, 1, 0, 0, 0, 0}, "abc"...), 8000)
	if r.packets != 1 || r.octets != 3 || r.total.Load() != 2 {
		t.Errorf("another source: got %d packets, %d octets, %d in all", r.packets, r.octets, r.total.Load())
	}
}

func TestWantsKeyframe(t *testing.T) {
	for name, row := range map[string]struct {
		packet []byte
		want   bool
	}{
		"PLI":      {[]byte{0x81, 206, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2}, true},
		"FIR":      {[]byte{0x84, 206, 0, 4}, true},
		"NACK":     {[]byte{0x81, 205, 0, 0}, false},
		"report":   {[]byte{0x80, 201, 0, 1, 0, 0, 0, 1}, false},
		"too long": {[]byte{0x80, 201, 0xff, 0xff, 0x81, 206, 0, 0}, false},
		"empty":    {nil, false},
	} {
		if got := wantsKeyframe(row.packet); got != row.want {
			t.Errorf("%s: got %t", name, got)
		}
	}
}

func TestTapAllocatesNothing(t *testing.T) {
	w := newWorld(t, Config{})
	defer w.stop()
	tap, packet := newSession(w.client, Call{}).Tap(0, false), rtpPacket(0, 1, "x")
	if got := testing.AllocsPerRun(10000, func() { tap.Packet(caller, time.Second, packet) }); got != 0 {
		t.Errorf("got %g allocations a packet, want none", got)
	}
	if w.client.Stats().Dropped == 0 {
		t.Error("a full ring drops nothing")
	}
}

// TestTooManyStreams: what a call may ever have is bounded.
func TestTooManyStreams(t *testing.T) {
	w := newWorld(t, Config{})
	defer w.stop()
	s := newSession(w.client, Call{})
	for n := range maxLines / 2 {
		if s.Tap(n, false) == nil {
			t.Fatalf("stream %d gets no tap", n)
		}
	}
	if s.Tap(maxLines, false) != nil || s.Tap(0, false) == nil {
		t.Error("the bound does not hold, or not for new ones alone")
	}
}

func FuzzContents(f *testing.F) {
	c := join([]byte("v=0\r\n"), []byte("<recording/>"))
	f.Add(c.text, c.kind)
	f.Add([]byte("SRS restarted"), requestType)
	f.Add([]byte("--x\r\n\r\n--x--"), "multipart/mixed;boundary=x")
	f.Fuzz(func(t *testing.T, body []byte, kind string) {
		if n := len(contents(body, kind)); n > maxParts {
			t.Errorf("got %d parts", n)
		}
	})
}
