package breaker

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
	"time"

	"webrtc2sip/internal/offeranswer"
)

// The payload types of the tests: Opus and RED as the browser numbers them, and as
// the other side does.
const (
	webOpus, webRED, webDigits = 111, 63, 126
	farOpus, farRED, farDigits = 96, 97, 101
	redSource                  = 0x5ed
)

// newSounds is a stream of sound from a browser with RED to a side that may have
// it as well.
func newSounds(far string) (b *bridge, web *terminal, toFar *recorder) {
	audio := func(lines string) *offeranswer.Media {
		d, err := offeranswer.Parse([]byte("v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 " + lines))
		if err != nil {
			panic(err)
		}
		return &d.Media[0]
	}
	offered := audio("UDP/TLS/RTP/SAVPF 111 63 126\r\na=rtpmap:111 opus/48000/2\r\na=rtpmap:63 red/48000/2\r\na=fmtp:63 111/111\r\na=rtpmap:126 telephone-event/48000\r\n")
	answered := audio(far)
	b = newBridge(time.Now(), true)
	web, toFar = &b.ends[0], &recorder{}
	web.endpoint, b.ends[1].endpoint = &recorder{}, toFar
	types := offeranswer.PayloadMap(offered, offered, answered).ToAnswerer
	r := newRoute(true, types, offered)
	r.addEvents(offered, offered, answered, false)
	web.red = newRedundancy(offered, offered)
	web.setRoute(r)
	return b, web, toFar
}

const (
	plainFar = "RTP/AVP 96 101\r\na=rtpmap:96 opus/48000/2\r\na=rtpmap:101 telephone-event/48000\r\n"
	redFar   = "RTP/AVP 97 96 101\r\na=rtpmap:96 opus/48000/2\r\na=rtpmap:97 red/48000/2\r\na=fmtp:97 96/96\r\na=rtpmap:101 telephone-event/48000\r\n"
)

// said is what is in a packet.
func said(n uint16) string { return fmt.Sprintf("packet %d", n) }

// redPacket holds packet n, and copies of those before it under a payload type.
func redPacket(n uint16, copies int, of uint8) []byte {
	p := make([]byte, 12, 2048)
	p[0], p[1] = 0x80, webRED
	binary.BigEndian.PutUint16(p[2:], n)
	binary.BigEndian.PutUint32(p[4:], uint32(int16(n))*960)
	binary.BigEndian.PutUint32(p[8:], redSource)
	for back := copies; back > 0; back-- {
		p = binary.BigEndian.AppendUint32(p, uint32(0x80|of)<<24|uint32(back)*960<<10|uint32(len(said(n-uint16(back)))))
	}
	p = append(p, webOpus)
	for back := copies; back >= 0; back-- {
		p = append(p, said(n-uint16(back))...)
	}
	return p
}

// A side without RED gets each packet once, in its place, also those that were
// lost if there is a copy of them.
func TestRedundancyEndsHere(t *testing.T) {
	tests := []struct {
		name   string
		copies int
		come   []uint16
		want   []uint16
	}{
		{"nothing lost", 1, []uint16{10, 11, 12}, []uint16{10, 11, 12}},
		{"one lost", 1, []uint16{10, 12, 13}, []uint16{10, 11, 12, 13}},
		{"two lost, one copy", 1, []uint16{10, 13}, []uint16{10, 12, 13}},
		{"two lost, two copies", 2, []uint16{10, 13}, []uint16{10, 11, 12, 13}},
		{"it comes after all", 1, []uint16{10, 12, 11, 13}, []uint16{10, 11, 12, 13}},
		{"a packet twice", 2, []uint16{10, 12, 12, 13}, []uint16{10, 11, 12, 13}},
		{"around the end of the numbers", 1, []uint16{65534, 0, 1}, []uint16{65534, 65535, 0, 1}},
		{"nothing before the first", 2, []uint16{10}, []uint16{10}},
		{"a source that starts anew", 2, []uint16{10, 5000, 5001}, []uint16{10, 5000, 5001}},
		{"no copies", 0, []uint16{10, 12}, []uint16{10, 12}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, web, toFar := newSounds(plainFar)
			for _, n := range test.come {
				web.ReceiveRTP(redPacket(n, test.copies, webOpus))
			}
			var got, want []string
			for i, p := range toFar.rtp {
				got = append(got, string(p[12:]))
				if p[1]&0x7f != farOpus {
					t.Errorf("%d has payload type %d", i, p[1]&0x7f)
				}
				if first := toFar.rtp[0]; test.name != "a source that starts anew" &&
					binary.BigEndian.Uint16(p[2:])-binary.BigEndian.Uint16(first[2:]) != test.want[i]-test.want[0] {
					t.Errorf("%d is out of its place", i)
				}
			}
			for _, n := range test.want {
				want = append(want, said(n))
			}
			if !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
			if n := int(web.in.packets.Load()); n != len(test.come) {
				t.Errorf("%d packets counted of %d that came", n, len(test.come))
			}
		})
	}
}

// A side with RED gets the packets whole, with its own numbers in them.
func TestRedundancyPasses(t *testing.T) {
	_, web, toFar := newSounds(redFar)
	for _, n := range []uint16{10, 12} {
		web.ReceiveRTP(redPacket(n, 2, webOpus))
	}
	if len(toFar.rtp) != 2 {
		t.Fatalf("%d packets, want 2", len(toFar.rtp))
	}
	for i, p := range toFar.rtp {
		want := redPacket(uint16(10+2*i), 2, farOpus)
		want[12+8] = farOpus
		if p[1]&0x7f != farRED || string(p[12:]) != string(want[12:]) {
			t.Errorf("got %x, want %x in RED", p, want[12:])
		}
	}
	// A copy that the other side cannot take ends the passing, not the sound.
	web.ReceiveRTP(redPacket(13, 1, 50))
	if p := toFar.rtp[len(toFar.rtp)-1]; p[1]&0x7f != farOpus || string(p[12:]) != said(13) {
		t.Errorf("got %x", p)
	}
}

// Digits in RED go to the keypad as others do, and no copy brings one back.
func TestDigitsInRedundancy(t *testing.T) {
	_, web, toFar := newSounds(redFar)
	web.ReceiveRTP(redPacket(10, 1, webOpus))
	digit := redPacket(12, 1, webDigits)
	digit[12+4] = webDigits
	digit = append(digit[:12+5+len(said(11))], 5, 0x0a, 0, 160)
	web.ReceiveRTP(digit)
	got := toFar.rtp[1:]
	if len(got) != 1 || got[0][1]&0x7f != farDigits || got[0][12] != 5 {
		t.Errorf("got %x, want one packet of the digit 5", got)
	}
}

// What is no RED although it says so goes nowhere.
func TestBrokenRedundancy(t *testing.T) {
	for name, payload := range map[string][]byte{
		"nothing":        {},
		"too short":      {0x80 | webOpus, 0, 3, 255, webOpus, 1},
		"RED in itself":  {webRED, webOpus, 1, 2},
		"unknown inside": {50, 1, 2},
	} {
		_, web, toFar := newSounds(plainFar)
		web.ReceiveRTP(append(redPacket(1, 0, webOpus)[:12:64], payload...))
		if len(toFar.rtp) != 0 || web.unwanted.Load() != 1 {
			t.Errorf("%s: %d packets went out, %d unwanted", name, len(toFar.rtp), web.unwanted.Load())
		}
	}
}

func TestRedundancyAllocatesNothing(t *testing.T) {
	for name, far := range map[string]string{"ended here": plainFar, "passed": redFar} {
		b, web, _ := newSounds(far)
		b.ends[1].endpoint = discard{}
		first, buf, n := redPacket(1, 2, webOpus), make([]byte, 2048), uint16(0)
		if got := testing.AllocsPerRun(200, func() {
			n += 2 // each second one is lost
			buf = buf[:copy(buf[:cap(buf)], first)]
			binary.BigEndian.PutUint16(buf[2:], n)
			binary.BigEndian.PutUint32(buf[4:], uint32(n)*960)
			web.ReceiveRTP(buf)
		}); got != 0 {
			t.Errorf("%s: %v allocations", name, got)
		}
	}
}

const red = "63 111\r\na=rtpmap:63 red/48000/2\r\na=fmtp:63 111/111\r\na=rtpmap:111 opus/48000/2"

// From a browser that sends RED to a phone without it, and to another browser.
func TestRedundancyOfABrowser(t *testing.T) {
	for name, test := range map[string]struct {
		callee func(testing.TB) peer
		whole  bool
	}{
		"to a phone": {func(t testing.TB) peer {
			p := newPhone(t)
			p.formats = "111\r\na=rtpmap:111 opus/48000/2"
			return p
		}, false},
		"to a browser": {func(t testing.TB) peer {
			b := newBrowser(t)
			b.formats = red
			return b
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			caller := newBrowser(t)
			caller.formats = red
			s := newSetup(t, start(t, Config{}), caller, test.callee(t))
			s.establish(offeranswer.Caller)
			want := string(redPacket(5, 1, webOpus)[12:])
			if !test.whole {
				want = said(5)
			}
			p := s.packet(offeranswer.Caller, string(redPacket(5, 1, webOpus)[12:]))
			p.PayloadType = webRED
			deadline := time.After(wait)
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case got := <-s.parties[offeranswer.Callee].heard():
					if string(got.Payload) != want || (got.PayloadType == webRED) != test.whole {
						t.Errorf("got %q of type %d, want %q", got.Payload, got.PayloadType, want)
					}
					return
				case <-tick.C:
					p.SequenceNumber++
					p.Timestamp += 960
					caller.send(p)
				case <-deadline:
					t.Fatal("nothing has come")
				}
			}
		})
	}
}
