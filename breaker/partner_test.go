package breaker

import (
	"bytes"
	"encoding/binary"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtcp"

	"webrtc2sip/breaker/dtmf"
	"webrtc2sip/internal/offeranswer"
)

// recorder is an endpoint that keeps what it is to send.
type recorder struct{ rtp, rtcp [][]byte }

func (r *recorder) SendRTP(p []byte)  { r.rtp = append(r.rtp, bytes.Clone(p)) }
func (r *recorder) SendRTCP(p []byte) { r.rtcp = append(r.rtcp, bytes.Clone(p)) }

// repeating is one that can repeat what it has sent, protected by a key stream
// that goes on with each packet.
type repeating struct {
	*recorder
	key byte
}

func (r *repeating) SendRTP(p []byte) { r.SendKept(p) }

func (r *repeating) SendKept(p []byte) (sent []byte) {
	r.key++
	sent = append(p, r.key)
	r.Repeat(sent)
	return sent
}

func (r *repeating) Repeat(sent []byte) bool {
	r.rtp = append(r.rtp, bytes.Clone(sent))
	return true
}

// feedbacks are the messages of one type among what was sent.
func feedbacks[T rtcp.Packet](t *testing.T, sent [][]byte) (out []T) {
	t.Helper()
	for _, raw := range sent {
		packets, err := rtcp.Unmarshal(raw)
		if err != nil {
			t.Fatalf("%x: %v", raw, err)
		}
		for _, p := range packets {
			if m, ok := p.(T); ok {
				out = append(out, m)
			}
		}
	}
	return out
}

const (
	testVP8, testRTX = 96, 97
	webSource        = 0x3eb
	webRepeats       = 0x3ec
)

// pass lets time pass.
func (b *bridge) pass(d time.Duration) {
	for i := range b.ends {
		b.ends[i].began = b.ends[i].began.Add(-d)
	}
}

// newScreen is a stream of video between a browser with all feedback and a plain
// phone, without a call around it.
func newScreen(t *testing.T) (b *bridge, web, phone *terminal, toWeb, toPhone *recorder) {
	t.Helper()
	video := func(proto, lines string) *offeranswer.Media {
		d, err := offeranswer.Parse([]byte("v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=video 4000 " + proto + "\r\na=rtpmap:96 VP8/90000\r\n" + lines))
		if err != nil {
			t.Fatal(err)
		}
		return &d.Media[0]
	}
	full := video("UDP/TLS/RTP/SAVPF 96 97", "a=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\na=rtcp-fb:96 nack\r\na=rtcp-fb:96 nack pli\r\na=rtcp-fb:96 goog-remb\r\n")
	plain := video("RTP/AVPF 96", "b=AS:500\r\na=rtcp-fb:96 nack\r\n")
	b = newBridge(time.Now(), false)
	web, phone = &b.ends[0], &b.ends[1]
	toWeb, toPhone = &recorder{}, &recorder{}
	web.endpoint, phone.endpoint = toWeb, &repeating{recorder: toPhone}
	var types [128]uint8
	for i := range types {
		types[i] = offeranswer.NoPayload
	}
	types[testVP8] = testVP8
	web.setTerms(newTerms(full, full, plain), [2]int{100, 400})
	phone.setTerms(newTerms(plain, plain, full), [2]int{100, 400})
	web.setRoute(newRoute(true, types, full))
	phone.setRoute(newRoute(true, types, plain))
	return b, web, phone, toWeb, toPhone
}

// picture is a packet of VP8; key makes it the first of a keyframe.
func picture(ssrc uint32, sequence uint16, key bool) []byte {
	p := make([]byte, 12+100, 2048)
	p[0], p[1] = 0x80, testVP8
	binary.BigEndian.PutUint16(p[2:], sequence)
	binary.BigEndian.PutUint32(p[4:], uint32(sequence)*3000)
	binary.BigEndian.PutUint32(p[8:], ssrc)
	p[12], p[13] = 0x10, 1
	if key {
		p[13] = 0
	}
	binary.BigEndian.PutUint16(p[20:], sequence)
	return p
}

// again is the retransmission of one.
func again(n uint16, p []byte) []byte {
	r := make([]byte, 0, 2048)
	r = append(append(append(r, p[:12]...), p[2], p[3]), p[12:]...)
	r[1] = testRTX
	binary.BigEndian.PutUint16(r[2:], n)
	binary.BigEndian.PutUint32(r[8:], webRepeats)
	return r
}

// What a browser has sent and lost is asked for, comes as RTX, and goes to the
// phone in its place; the phone hears nothing of it.
func TestLossFromABrowser(t *testing.T) {
	b, web, _, toWeb, toPhone := newScreen(t)
	for n := range uint16(10) {
		if n != 4 && n != 6 {
			web.ReceiveRTP(picture(webSource, n, n == 0))
		}
	}
	b.pass(50 * time.Millisecond)
	web.ReceiveRTP(picture(webSource, 10, false))
	nacks := feedbacks[*rtcp.TransportLayerNack](t, toWeb.rtcp)
	if len(nacks) != 1 || nacks[0].MediaSSRC != webSource || !slices.Equal(nacks[0].Nacks[0].PacketList(), []uint16{4, 6}) {
		t.Fatalf("asked for %v", nacks)
	}
	web.ReceiveRTP(again(900, picture(webSource, 4, false)))
	web.ReceiveRTP(again(900, picture(webSource, 4, false)))
	web.ReceiveRTP(again(901, picture(webSource, 6, false)))
	probe := again(902, picture(webSource, 7, false))[:12]
	web.ReceiveRTP(probe)
	var got []uint16
	first := binary.BigEndian.Uint16(toPhone.rtp[0][2:])
	for _, p := range toPhone.rtp {
		got = append(got, binary.BigEndian.Uint16(p[2:])-first)
		if p[1]&0x7f != testVP8 || binary.BigEndian.Uint16(p[20:]) != got[len(got)-1] {
			t.Errorf("%x is out of place", p[:24])
		}
	}
	if want := []uint16{0, 1, 2, 3, 5, 7, 8, 9, 10, 4, 6}; !slices.Equal(got, want) {
		t.Errorf("the phone got %v, want %v", got, want)
	}
	if plis := feedbacks[*rtcp.PictureLossIndication](t, toWeb.rtcp); len(plis) != 0 {
		t.Errorf("%d keyframes asked for although one came at once and all was repaired", len(plis))
	}
}

// What is lost for good is asked for as a keyframe, once a second.
func TestLossForGood(t *testing.T) {
	b, web, _, toWeb, _ := newScreen(t)
	web.ReceiveRTP(picture(webSource, 0, true))
	web.ReceiveRTP(picture(webSource, 100, false))
	for n := range uint16(20) {
		web.ReceiveRTP(picture(webSource, 101+n, false))
	}
	if plis := feedbacks[*rtcp.PictureLossIndication](t, toWeb.rtcp); len(plis) != 1 {
		t.Fatalf("%d requests at once", len(plis))
	}
	b.pass(time.Second)
	web.ReceiveRTP(picture(webSource, 121, false))
	b.pass(time.Second)
	web.ReceiveRTP(picture(webSource, 122, true))
	b.pass(time.Second)
	web.ReceiveRTP(picture(webSource, 123, false))
	if plis := feedbacks[*rtcp.PictureLossIndication](t, toWeb.rtcp); len(plis) != 2 {
		t.Errorf("%d requests, want one more, until it came", len(plis))
	}
}

// A browser that has missed packets gets them as RTX, a plain phone with AVPF as
// they were; nobody more than a tenth.
func TestNACKsAreAnswered(t *testing.T) {
	for _, toBrowser := range []bool{true, false} {
		_, web, phone, toWeb, toPhone := newScreen(t)
		from, to, out := phone, web, toWeb
		if !toBrowser {
			from, to, out = web, phone, toPhone
		}
		for n := range uint16(200) {
			from.ReceiveRTP(picture(0x99, n, n == 0))
		}
		missed := out.rtp[190:193]
		sent := len(out.rtp)
		ask := func(n ...[]byte) {
			m := rtcp.TransportLayerNack{SenderSSRC: 1, MediaSSRC: to.out.ssrc}
			for _, p := range n {
				m.Nacks = append(m.Nacks, rtcp.NackPair{PacketID: binary.BigEndian.Uint16(p[2:])})
			}
			raw, err := rtcp.Marshal([]rtcp.Packet{&rtcp.ReceiverReport{SSRC: 1}, &m})
			if err != nil {
				t.Fatal(err)
			}
			to.ReceiveRTCP(raw)
		}
		ask(missed...)
		repeats := out.rtp[sent:]
		if len(repeats) != len(missed) {
			t.Fatalf("browser %v: %d repeated, want %d", toBrowser, len(repeats), len(missed))
		}
		for i, r := range repeats {
			want := missed[i]
			if toBrowser {
				if r[1]&0x7f != testRTX || binary.BigEndian.Uint32(r[8:]) != web.out.rtx || !bytes.Equal(r[12:14], want[2:4]) || !bytes.Equal(r[14:], want[12:]) {
					t.Errorf("RTX %x of %x", r[:24], want[:24])
				}
			} else if !bytes.Equal(r, want) {
				t.Errorf("repeated %x, want %x", r[:24], want[:24])
			}
		}
		all := slices.Clone(out.rtp[:sent])
		for range 100 {
			ask(all...)
		}
		if more := len(out.rtp) - sent; more > sent/10 {
			t.Errorf("browser %v: %d packets repeated of %d", toBrowser, more, sent)
		}
	}
}

// The browser is told what the phone can take, and less when the phone loses.
func TestBandwidthReachesTheBrowser(t *testing.T) {
	b, web, phone, toWeb, _ := newScreen(t)
	web.ReceiveRTP(picture(webSource, 0, true))
	rembs := feedbacks[*rtcp.ReceiverEstimatedMaximumBitrate](t, toWeb.rtcp)
	if len(rembs) != 1 || rembs[0].Bitrate != 500_000 || rembs[0].SSRCs[0] != webSource {
		t.Fatalf("told %v, want the phone's b=AS:500", rembs)
	}
	raw, err := rtcp.Marshal([]rtcp.Packet{&rtcp.ReceiverReport{SSRC: 1, Reports: []rtcp.ReceptionReport{{SSRC: phone.out.ssrc, FractionLost: 128}}}})
	if err != nil {
		t.Fatal(err)
	}
	phone.ReceiveRTCP(raw)
	web.ReceiveRTP(picture(webSource, 1, false))
	rembs = feedbacks[*rtcp.ReceiverEstimatedMaximumBitrate](t, toWeb.rtcp)
	if len(rembs) != 2 || rembs[1].Bitrate >= 500_000 {
		t.Errorf("told %v after half of all was lost", rembs)
	}
	b.pass(time.Minute)
}

// A phone without RTCP feedback is asked in signalling as well, within limits.
func TestKeyframeBySignalling(t *testing.T) {
	b, web, phone, _, toPhone := newScreen(t)
	signalled := 0
	phone.signal = func() { signalled++ }
	phone.ReceiveRTP(picture(0x99, 0, true))
	raw, err := rtcp.Marshal([]rtcp.Packet{&rtcp.ReceiverReport{SSRC: 1}, &rtcp.PictureLossIndication{SenderSSRC: 1, MediaSSRC: web.out.ssrc}})
	if err != nil {
		t.Fatal(err)
	}
	for range 50 {
		web.ReceiveRTCP(raw)
	}
	if plis := feedbacks[*rtcp.PictureLossIndication](t, toPhone.rtcp); signalled != 1 || len(plis) != 1 {
		t.Errorf("asked %d times in signalling and %d times in RTCP", signalled, len(plis))
	}
	b.pass(time.Second)
	web.ReceiveRTCP(raw)
	if signalled != 2 {
		t.Errorf("asked %d times in signalling after a second", signalled)
	}
}

// TestVideoAllocatesNothing holds for the packets of video with feedback.
func TestVideoAllocatesNothing(t *testing.T) {
	_, web, phone, _, _ := newScreen(t)
	web.endpoint, phone.endpoint = discard{}, discard{}
	n := uint16(0)
	p := picture(webSource, 0, true)
	send := func() {
		n++
		p[0], p[1] = 0x80, testVP8
		binary.BigEndian.PutUint16(p[2:], n)
		binary.BigEndian.PutUint32(p[8:], webSource)
		web.ReceiveRTP(p)
		phone.ReceiveRTP(p)
	}
	for range 2000 {
		send()
	}
	if got := testing.AllocsPerRun(500, send); got != 0 {
		t.Errorf("%v allocations a packet", got)
	}
}

type discard struct{}

func (discard) SendRTP([]byte)  {}
func (discard) SendRTCP([]byte) {}

// events are the telephone-events among a phone's packets, as a Reader hears
// them, until a number of digits have come.
func (s *setup) digits(at peer, payloadType uint8, rate uint32, want int) (out []dtmf.Digit) {
	s.t.Helper()
	var r dtmf.Reader
	deadline := time.After(30 * time.Second)
	began := time.Now()
	for len(out) < want {
		select {
		case p := <-at.heard():
			if p.PayloadType != payloadType {
				continue
			}
			if seen, _ := r.Packet(p.Payload, p.Timestamp, rate, time.Since(began)); seen.Ends {
				out = append(out, seen.Ended)
			}
		case <-deadline:
			s.t.Fatalf("%d digits, want %d", len(out), want)
		}
	}
	return out
}

// INFO becomes telephone-events, in order and with their durations.
func TestDigitsIntoRTP(t *testing.T) {
	b := start(t, Config{})
	caller, callee := newBrowser(t), newPhone(t)
	caller.formats, callee.formats = opus, "96 101\r\na=rtpmap:96 opus/48000/2\r\na=rtpmap:101 telephone-event/8000"
	s := newSetup(t, b, caller, callee)
	s.establish(offeranswer.Caller)
	s.flowsAs(offeranswer.Caller, 111)
	s.flowsAs(offeranswer.Callee, 96)
	for event, d := range []time.Duration{100 * time.Millisecond, 0} {
		if fate := b.Digit(s.id, offeranswer.Caller, dtmf.Digit{Event: uint8(event), Duration: d}, true); fate != dtmf.Sent {
			t.Fatalf("fate %v", fate)
		}
	}
	got := s.digits(callee, 101, 8000, 2)
	want := []dtmf.Digit{{Event: 0, Duration: 100 * time.Millisecond}, {Event: 1, Duration: 200 * time.Millisecond}}
	if !slices.Equal(got, want) {
		t.Errorf("got %#v, want %#v", got, want)
	}
	s.flowsAs(offeranswer.Caller, 111) // sound goes on
	if fate := b.Digit(s.id, offeranswer.Caller, dtmf.Digit{Event: 3}, false); fate != dtmf.Passes {
		t.Errorf("not to be converted: %v", fate)
	}
	if fate := b.Digit("nobody", offeranswer.Caller, dtmf.Digit{}, true); fate != dtmf.Passes {
		t.Errorf("of no call: %v", fate)
	}
	if sent := s.flood(b); sent > 20 {
		t.Errorf("%d digits of a flood", sent)
	}
}

// Digits for a party that nobody has sent anything to, as by a browser without a
// microphone, are apart by their timestamps.
func TestDigitsIntoSilence(t *testing.T) {
	b := start(t, Config{})
	caller, callee := newBrowser(t), newPhone(t)
	caller.formats, callee.formats = opus, "96 101\r\na=rtpmap:96 opus/48000/2\r\na=rtpmap:101 telephone-event/8000"
	s := newSetup(t, b, caller, callee)
	s.establish(offeranswer.Caller)
	const pressed = 4
	for range pressed {
		if fate := b.Digit(s.id, offeranswer.Caller, dtmf.Digit{Event: 5, Duration: 60 * time.Millisecond}, true); fate != dtmf.Sent {
			t.Fatalf("fate %v", fate)
		}
	}
	s.digits(callee, 101, 8000, pressed)
	s.flowsAs(offeranswer.Caller, 111)
}

// flood counts the digits of a thousand that pass.
func (s *setup) flood(b *Breaker) (passed int) {
	for n := range 1000 {
		if b.Digit(s.id, offeranswer.Callee, dtmf.Digit{Event: uint8(n % 10)}, false) != dtmf.Dropped {
			passed++
		}
	}
	return passed
}

// key sends a key of 100 ms as telephone-events.
func (s *setup) key(from offeranswer.Side, event, payloadType uint8, rate uint32) {
	var w dtmf.Writer
	timestamp := s.packet(from, "").Timestamp
	for w.Start(dtmf.Digit{Event: event, Duration: 100 * time.Millisecond}, rate); w.Busy(); {
		var payload [dtmf.PayloadLen]byte
		w.Next(&payload)
		p := s.packet(from, string(payload[:]))
		p.PayloadType, p.Timestamp = payloadType, timestamp
		s.parties[from].send(p)
	}
}

// A browser's telephone-events at 48 kHz reach a phone that has them at 8.
func TestDigitsAtAnotherClock(t *testing.T) {
	b := start(t, Config{OnDigit: func(string, offeranswer.Side, dtmf.Digit) { t.Error("told in signalling as well") }})
	caller, callee := newBrowser(t), newPhone(t)
	caller.formats = opus + "\r\na=rtpmap:126 telephone-event/8000"
	callee.formats = "96 101\r\na=rtpmap:96 opus/48000/2\r\na=rtpmap:101 telephone-event/8000"
	s := newSetup(t, b, caller, callee)
	s.establish(offeranswer.Caller)
	s.flowsAs(offeranswer.Caller, 111)
	s.key(offeranswer.Caller, 7, 110, 48000)
	if got, want := s.digits(callee, 101, 8000, 1), (dtmf.Digit{Event: 7, Duration: 100 * time.Millisecond}); got[0] != want {
		t.Errorf("got %#v, want %#v", got[0], want)
	}
	if fate := b.Digit(s.id, offeranswer.Caller, dtmf.Digit{Event: 7}, true); fate != dtmf.Dropped {
		t.Errorf("the same key in INFO: %v", fate)
	}
}

// A phone without telephone-events hears of digits in signalling.
func TestDigitsIntoSignalling(t *testing.T) {
	for _, row := range []struct {
		name, formats string
		config        Config
	}{
		{"none in its description", "0", Config{}},
		{"by configuration", "0 101\r\na=rtpmap:101 telephone-event/8000", Config{DigitsInSignalling: true}},
	} {
		t.Run(row.name, func(t *testing.T) {
			var mu sync.Mutex
			var told []dtmf.Digit
			row.config.OnDigit = func(_ string, from offeranswer.Side, d dtmf.Digit) {
				mu.Lock()
				defer mu.Unlock()
				if from == offeranswer.Caller {
					told = append(told, d)
				}
			}
			b := start(t, row.config)
			caller, callee := newBrowser(t), newPhone(t)
			caller.formats, callee.formats = "0 126\r\na=rtpmap:126 telephone-event/8000", row.formats
			s := newSetup(t, b, caller, callee)
			s.establish(offeranswer.Caller)
			s.bothFlow()
			s.key(offeranswer.Caller, 5, 126, 8000)
			s.eventually("digit", func() bool {
				mu.Lock()
				defer mu.Unlock()
				return len(told) > 0
			})
			mu.Lock()
			if want := (dtmf.Digit{Event: 5, Duration: 100 * time.Millisecond}); len(told) != 1 || told[0] != want {
				t.Errorf("told %#v", told)
			}
			mu.Unlock()
			for range 3 {
				if p := s.flows(offeranswer.Caller); p.PayloadType != 0 {
					t.Errorf("payload type %d reached the phone", p.PayloadType)
				}
			}
		})
	}
}

// What a party offers and is not answered, it does not take: a phone whose offer
// has telephone-events, and a browser that takes none, agree on none.
func TestDigitsThatWereNotAgreedOn(t *testing.T) {
	b := start(t, Config{})
	caller, callee := newPhone(t), newPhone(t)
	caller.formats, callee.formats = "0 101\r\na=rtpmap:101 telephone-event/8000", "0"
	s := newSetup(t, b, caller, callee)
	s.establish(offeranswer.Caller)
	if fate := b.Digit(s.id, offeranswer.Callee, dtmf.Digit{Event: 5}, true); fate != dtmf.Passes {
		t.Errorf("fate %v", fate)
	}
}
