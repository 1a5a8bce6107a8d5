package breaker

import (
	"testing"
	"time"

	"webrtc2sip/internal/offeranswer"
)

func TestComfortOf(t *testing.T) {
	codec := func(pt uint8, name string, rate uint32) offeranswer.Format {
		return offeranswer.Format{PayloadType: pt, Codec: name, ClockRate: rate, Channels: 1}
	}
	event, ulaw, opus := codec(101, "telephone-event", 8000), codec(0, "PCMU", 8000), codec(127, "opus", 48000)
	for _, row := range []struct {
		name    string
		formats []offeranswer.Format
		pt      uint8
		size    int
		first   byte
	}{
		{"µ-law", []offeranswer.Format{event, ulaw}, 0, 160, 0xff},
		{"A-law", []offeranswer.Format{codec(8, "pcma", 8000), ulaw}, 8, 160, 0xd5},
		{"comfort noise", []offeranswer.Format{ulaw, codec(13, "CN", 8000)}, 13, 1, 127},
		{"Opus first", []offeranswer.Format{opus, ulaw}, 126, 0, 0},
		{"pictures", []offeranswer.Format{codec(126, "VP8", 90000)}, 127, 0, 0},
	} {
		got := comfortOf(row.formats)
		if !got.on || got.payloadType != row.pt || len(got.payload) != row.size || row.size > 0 && got.payload[0] != row.first {
			t.Errorf("%s: got %d with % x, want %d with %d octets of %x", row.name, got.payloadType, got.payload, row.pt, row.size, row.first)
		}
	}
}

// kept is a sender that keeps what is sent.
type kept struct{ packets [][]byte }

func (k *kept) SendRTP(p []byte) { k.packets = append(k.packets, p) }
func (k *kept) SendRTCP([]byte)  {}

// TestSoothe moves the call's birth into the past instead of waiting.
func TestSoothe(t *testing.T) {
	b := newBridge(time.Now(), true)
	from, to := &b.ends[0], &b.ends[1]
	sink := &kept{}
	to.endpoint = sink
	types := [128]uint8{0: 8, 1: offeranswer.NoPayload}
	from.route = *newRoute(true, types, &offeranswer.Media{Formats: []offeranswer.Format{{PayloadType: 0, Codec: "PCMU", ClockRate: 8000}}})
	to.comfort = comfortOf([]offeranswer.Format{{PayloadType: 8, Codec: "PCMA", ClockRate: 8000}})
	packet, size := template(t, 7)
	speak := func(n int) {
		advance(packet, 7, n)
		from.ReceiveRTP(packet[:size])
	}
	speak(1)
	last := headerOf(t, sink, 1)
	to.soothe(14 * time.Second)
	headerOf(t, sink, 1)
	for n := range 3 { // nobody speaks
		to.soothe(time.Duration(n+1) * 16 * time.Second)
		to.soothe(time.Duration(n+1)*16*time.Second + time.Second)
		h := headerOf(t, sink, 2+n)
		if h.sequence != last.sequence+1 || h.timestamp-last.timestamp < 127000 || h.timestamp-last.timestamp > 128000 || h.ssrc != last.ssrc || h.payloadType != 8 {
			t.Fatalf("comfort %d: %+v after %+v", n, h, last)
		}
		last = h
	}
	b.pass(50 * time.Second)
	speak(2)
	if h := headerOf(t, sink, 5); h.sequence != last.sequence+1 || h.timestamp-last.timestamp < 16000 || h.timestamp-last.timestamp > 80000 || !h.marker {
		t.Errorf("speech goes on with %+v after %+v", h, last)
	}
	to.soothe(60 * time.Second) // 10 s after that
	headerOf(t, sink, 5)

	to.comfort = comfort{} // a browser, or a stream that was refused
	to.soothe(time.Hour)
	headerOf(t, sink, 5)
}

// A phone to which nothing was ever sent is sent comfort as well.
func TestSootheFirst(t *testing.T) {
	b, sink := newBridge(time.Now(), true), &kept{}
	to := &b.ends[1]
	to.soothe(time.Hour) // before there is an agreement
	to.comfort = comfortOf(nil)
	to.soothe(time.Hour) // before there is an endpoint
	to.endpoint = sink
	to.soothe(time.Hour)
	if h := headerOf(t, sink, 1); h.ssrc != to.out.ssrc || h.payloadType != 127 {
		t.Errorf("got %+v", h)
	}
}

// headerOf checks how many packets were sent and reads the last.
func headerOf(t *testing.T, k *kept, count int) header {
	t.Helper()
	if len(k.packets) != count {
		t.Fatalf("%d packets went out, want %d", len(k.packets), count)
	}
	h, ok := parseRTP(k.packets[count-1])
	if !ok {
		t.Fatalf("no RTP: % x", k.packets[count-1])
	}
	return h
}

func TestSilent(t *testing.T) {
	b := start(t, Config{})
	s := newSetup(t, b, newBrowser(t), newPhone(t))
	silent := func(want bool) time.Duration {
		t.Helper()
		d, flows := b.Silent(s.id)
		if flows != want {
			t.Fatalf("flows: got %v, want %v", flows, want)
		}
		return d
	}
	silent(false)
	s.establish(offeranswer.Caller)
	s.bothFlow()
	if d := silent(true); d > wait {
		t.Errorf("silent for %v", d)
	}
	for _, direction := range []string{"inactive", "sendonly"} {
		s.parties[offeranswer.Caller].setDirection(direction)
		s.exchange(offeranswer.Caller)
		silent(false)
	}
	s.parties[offeranswer.Caller].setDirection("sendrecv")
	resumed := time.Now()
	s.exchange(offeranswer.Caller)
	if d, most := silent(true), time.Since(resumed); d > most {
		t.Errorf("silent for %v, though resumed %v ago", d, most)
	}
	b.Delete(s.id)
	silent(false)
}
