package breaker

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/rtcp"

	"webrtc2sip/internal/offeranswer"
)

// lineCounter counts the lines of a log.
type lineCounter struct {
	slog.Handler
	lines *atomic.Int64
}

func (c lineCounter) Handle(ctx context.Context, r slog.Record) error {
	c.lines.Add(1)
	return c.Handler.Handle(ctx, r)
}

func (c lineCounter) WithAttrs(a []slog.Attr) slog.Handler {
	return lineCounter{c.Handler.WithAttrs(a), c.lines}
}

// Packets with bad tags from the browser's own address: FreeSWITCH hung up after
// a hundred of them (CVE-2021-41105).
func TestFloodOfBadTags(t *testing.T) {
	const packets, every = 20000, 100
	var lines atomic.Int64
	b := start(t, Config{Logger: slog.New(lineCounter{slog.NewTextHandler(t.Output(), nil), &lines})})
	web := newBrowser(t)
	s := newSetup(t, b, web, newPhone(t))
	s.establish(offeranswer.Caller)
	s.bothFlow()
	before, began, lost := lines.Load(), time.Now(), 0
	p := make([]byte, 182)
	for n := range packets {
		copy(p, []byte{0x80, 0, byte(n >> 8), byte(n)})
		p[180] = byte(n) // of the tag
		if n%2 == 1 {
			copy(p, []byte{0x80, 200}) // SRTCP
		}
		web.sendRaw(p)
		if n%every == 0 && (!s.say(offeranswer.Caller, fmt.Sprint("caller ", n)) || !s.say(offeranswer.Callee, fmt.Sprint("callee ", n))) {
			lost++
		}
	}
	if lost > packets/every/200 {
		t.Errorf("%d of %d packets of voice were lost, want less than 0.5 %%", lost, packets/every)
	}
	if got, most := lines.Load()-before, int64(time.Since(began).Seconds())+1; got > most {
		t.Errorf("%d lines were logged, want one a second", got)
	}
	s.eventually("rejections", func() bool { return s.rejected(offeranswer.Caller) >= packets*9/10 })
}

// A race for the session: ClientHellos with the null suite, and alerts, to all
// ports of a call from its answer until it has media, and after.
func TestHelloRace(t *testing.T) {
	const calls, hellos = 20, 50
	b := start(t, Config{})
	attacker := listen(t, loopback)
	defer attacker.Close()
	alert := []byte{21, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 40}
	for i := range calls {
		s := newSetup(t, b, newBrowser(t), newPhone(t))
		s.id = fmt.Sprint("call ", i)
		from := offeranswer.Side(i % 2) // DTLS server and client in turn
		toAnswerer, toOfferer := s.exchange(from)
		var texts [2][]byte
		texts[from], texts[from.Other()] = toOfferer, toAnswerer
		web, plain := audioOf(t, texts[0]).ICE.Candidates[0].Address, audioOf(t, texts[1]).RTP()
		race := func() {
			for range hellos {
				fire(t, attacker, clientHello, web, plain, above(plain))
				fire(t, attacker, alert, web, plain, above(plain))
			}
		}
		race()
		s.parties[1].connect(texts[1])
		s.parties[0].connect(texts[0])
		race()
		s.bothFlow()
	}
	if err := attacker.SetReadDeadline(time.Now()); err != nil {
		t.Fatal(err)
	}
	if n, from, err := attacker.ReadFromUDPAddrPort(make([]byte, 1500)); err == nil {
		t.Errorf("the attacker got %d octets from %s", n, from)
	}
}

// RTCP that asks for everything, in the phone's name and in that of a stranger:
// the call goes on, and the browser is asked for a keyframe once a second.
func TestForgedFeedback(t *testing.T) {
	b := start(t, Config{})
	c := newPictures(t, b)
	c.begin()
	c.allPass()
	stats, _ := b.Call(c.id)
	ours, theirs := stats.Streams[1].Sides[1].OurSSRC, stats.Streams[1].Sides[0].OurSSRC
	var all []byte
	for _, p := range []rtcp.Packet{
		&rtcp.ReceiverReport{SSRC: c.camera.ssrc},
		&rtcp.TransportLayerNack{SenderSSRC: 1, MediaSSRC: ours, Nacks: []rtcp.NackPair{{PacketID: c.seq - 16, LostPackets: 0xffff}}},
		&rtcp.PictureLossIndication{SenderSSRC: 1, MediaSSRC: ours},
		&rtcp.FullIntraRequest{SenderSSRC: 1, FIR: []rtcp.FIREntry{{SSRC: ours, SequenceNumber: 1}}},
		&rtcp.ReceiverEstimatedMaximumBitrate{SenderSSRC: 1, Bitrate: 1, SSRCs: []uint32{ours}},
		&rtcp.Goodbye{Sources: []uint32{ours, theirs, webVideoSSRC, c.camera.ssrc}, Reason: "forged"},
	} {
		raw, err := p.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, raw...)
	}
	stranger := listen(t, loopback)
	defer stranger.Close()
	began, asked := time.Now(), 0
	for range 500 {
		fire(t, stranger, all, above(c.camera.to), c.camera.to)
		c.camera.sendReport(all)
		c.fromWeb("pictures", webVideoSSRC, 96, c.camera) // which empties the sockets, too
		for len(c.web.rtcp) > 0 {
			if wantsKeyframe(t, <-c.web.rtcp) {
				asked++
			}
		}
	}
	if most := int(time.Since(began).Seconds()) + 2; asked > most {
		t.Errorf("the browser was asked for %d keyframes, want at most %d", asked, most)
	}
	stats, _ = b.Call(c.id)
	if sent, received := stats.Streams[1].Sides[1].Sent, stats.Streams[1].Sides[0].Received; sent > received+received/10 {
		t.Errorf("%d packets were sent of %d that came, want a tenth more at most", sent, received)
	}
	c.allPass()
}

func wantsKeyframe(t *testing.T, report []byte) bool {
	t.Helper()
	packets, err := rtcp.Unmarshal(report)
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(packets, func(p rtcp.Packet) bool {
		_, pli := p.(*rtcp.PictureLossIndication)
		_, fir := p.(*rtcp.FullIntraRequest)
		return pli || fir
	})
}
