package breaker

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
)

func TestParseRTP(t *testing.T) {
	plain := []byte{0x80, 0x80, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 'x'}
	extension := []byte{0x91, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 9, 0xbe, 0xde, 0, 1, 0x10, 1, 0, 0, 'x'}
	tests := []struct {
		name   string
		packet []byte
		length int
		ok     bool
	}{
		{"plain", plain, 12, true},
		{"header alone", plain[:12], 12, true},
		{"short", plain[:11], 0, false},
		{"empty", nil, 0, false},
		{"version 1", append([]byte{0x40}, plain[1:]...), 0, false},
		{"CSRC and extension", extension, 24, true},
		{"extension outside", extension[:22], 0, false},
		{"extension header outside", extension[:18], 0, false},
		{"CSRC outside", append([]byte{0x8f}, plain[1:]...), 0, false},
		{"padding", append([]byte{0xa0}, append(plain[1:13:13], 0, 2)...), 12, true},
		{"padding of nothing", append([]byte{0xa0}, append(plain[1:13:13], 0, 0)...), 0, false},
		{"padding beyond the payload", append([]byte{0xa0}, append(plain[1:13:13], 0, 4)...), 0, false},
		{"padding without payload", append([]byte{0xa0}, plain[1:12]...), 0, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			h, ok := parseRTP(test.packet)
			if ok != test.ok || ok && h.length != test.length {
				t.Errorf("got %+v, %v; want length %d, %v", h, ok, test.length, test.ok)
			}
		})
	}
}

// FuzzRTP compares with pion's parser what is rewritten.
func FuzzRTP(f *testing.F) {
	f.Add([]byte{0x80, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 'x'})
	f.Add([]byte{0xb1, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 9, 0xbe, 0xde, 0, 1, 0x10, 1, 0, 0, 'x', 2})
	f.Add([]byte{0x90, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0xbe, 0xde, 0, 1, 0x30, 1, 0, 0, 'x'})
	f.Fuzz(func(t *testing.T, p []byte) {
		h, ok := parseRTP(p)
		if !ok {
			return
		}
		payload := bytes.Clone(p[h.length:])
		if value, ok := findExtension(p, 3); ok && len(value) == 1 {
			with := h.putWith(bytes.Clone(p), 5, value[0])
			var packet rtp.Packet
			if err := packet.Unmarshal(with); err != nil || !bytes.Equal(packet.GetExtension(5), value) || len(packet.GetExtensionIDs()) != 1 {
				t.Fatalf("%v in %x", err, with)
			}
			if !bytes.HasSuffix(with, payload) || len(with) != rtpHeaderLen+extensionsLen+len(payload) {
				t.Errorf("payload changed from %x to %x", payload, with)
			}
		}
		h.sequence, h.timestamp, h.ssrc, h.payloadType = 1, 2, 3, 4
		out := h.put(p)
		var packet rtp.Packet
		if err := packet.Unmarshal(out); err != nil {
			t.Fatalf("%v in %x", err, out)
		}
		want := rtp.Header{Version: 2, Padding: out[0]&0x20 != 0, Marker: h.marker, PayloadType: 4, SequenceNumber: 1, Timestamp: 2, SSRC: 3}
		got := rtp.Header{
			Version: packet.Version, Padding: packet.Padding, Marker: packet.Marker, PayloadType: packet.PayloadType,
			SequenceNumber: packet.SequenceNumber, Timestamp: packet.Timestamp, SSRC: packet.SSRC, Extension: packet.Extension,
		}
		if diff := cmp.Diff(want, got); diff != "" || len(packet.CSRC) > 0 {
			t.Errorf("header (-want +got):\n%s", diff)
		}
		if !bytes.Equal(out[rtpHeaderLen:], payload) {
			t.Errorf("payload changed from %x to %x", payload, out[rtpHeaderLen:])
		}
	})
}

func TestFindExtension(t *testing.T) {
	block := func(words ...byte) []byte {
		return append([]byte{0x90, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0xbe, 0xde, 0, byte(len(words) / 4)}, append(words, 'x')...)
	}
	tests := []struct {
		name   string
		packet []byte
		want   string
		ok     bool
	}{
		{"alone", block(0x41, 'a', 'b', 0), "ab", true},
		{"behind another and padding", block(0x10, 9, 0, 0, 0x40, 'c', 0, 0), "c", true},
		{"not there", block(0x10, 9, 0, 0), "", false},
		{"longer than the block", block(0x10, 9, 0x4f, 'a'), "", false},
		{"behind the end mark", block(0xf0, 9, 0x40, 'a'), "", false},
		{"two-octet form", append([]byte{0x90, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0x10, 0, 0, 1}, 4, 1, 'a', 0, 'x'), "", false},
		{"no extension", []byte{0x80, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 'x'}, "", false},
		{"no block", block()[:14], "", false},
		{"block outside", block(0x40, 'a', 0, 0)[:18], "", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got, ok := findExtension(test.packet, 4); string(got) != test.want || ok != test.ok {
				t.Errorf("got %q, %v, want %q, %v", got, ok, test.want, test.ok)
			}
		})
	}
}

func TestIncoming(t *testing.T) {
	const ms = time.Millisecond
	var n incoming
	feed := func(at time.Duration, ssrc uint32, seq uint16, ts uint32) {
		n.packet(&header{ssrc: ssrc, sequence: seq, timestamp: ts}, 160, at, 8000)
	}
	expect := func(what string, highest uint32, lost int64, jitter uint32) {
		t.Helper()
		if n.highest.Load() != highest || n.lost() != lost || n.jitter.Load()>>4 != jitter {
			t.Errorf("%s: highest %x, lost %d, jitter %d; want %x, %d, %d",
				what, n.highest.Load(), n.lost(), n.jitter.Load()>>4, highest, lost, jitter)
		}
	}
	feed(0, 7, 65534, 1000)
	expect("first", 0x1fffe, 0, 0)
	feed(20*ms, 7, 65535, 1160)
	feed(40*ms, 7, 1, 1480)
	expect("a number left out over the wrap", 0x20001, 1, 10) // 20 ms early: 160 units / 16
	feed(41*ms, 7, 0, 1320)
	expect("it comes late", 0x20001, 0, 19)
	for i := range uint32(300) {
		feed(60*ms+time.Duration(i)*20*ms, 7, uint16(2+i), 1640+160*i)
	}
	expect("steady", 0x20001+300, 0, 0)
	feed(6220*ms, 7, 310, 1640+160*308)
	expect("loss", 0x20000+310, 8, 0)
	feed(8*time.Second, 8, 5, 0)
	expect("another source keeps the loss", 0x10005, 8, 0)
	feed(9*time.Second, 8, 20000, 0)
	expect("a new beginning is no loss", 0x10000+20000, 8, 0)
}

func TestReports(t *testing.T) {
	from := terminal{out: outgoing{ssrc: 0xaa}}
	n, out := &from.in, &from.out
	var r reporter
	now := time.Date(2026, 1, 2, 3, 4, 5, 500_000_000, time.UTC)
	build := func(at time.Duration) []rtcp.Packet {
		t.Helper()
		raw, err := r.report(n, out, "name", at, now.Add(at))
		if err != nil {
			t.Fatal(err)
		}
		if cap(raw)-len(raw) < reportSpare {
			t.Errorf("no room for SRTCP: %d of %d", len(raw), cap(raw))
		}
		packets, err := rtcp.Unmarshal(raw)
		if err != nil {
			t.Fatal(err)
		}
		return packets
	}
	description := &rtcp.SourceDescription{Chunks: []rtcp.SourceDescriptionChunk{{
		Source: 0xaa, Items: []rtcp.SourceDescriptionItem{{Type: rtcp.SDESCNAME, Text: "name"}},
	}}}
	want := []rtcp.Packet{&rtcp.ReceiverReport{SSRC: 0xaa}, description}
	compare := func(what string, got []rtcp.Packet) {
		t.Helper()
		for _, p := range got {
			switch p := p.(type) {
			case *rtcp.ReceiverReport:
				p.ProfileExtensions = nil
			case *rtcp.SenderReport:
				p.ProfileExtensions = nil
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	want[0].(*rtcp.ReceiverReport).Reports = nil
	compare("nothing yet", build(0))

	// Ten of twelve packets come, one goes out, and a sender report came.
	for i := range uint16(12) {
		if i == 3 || i == 4 {
			continue
		}
		n.packet(&header{ssrc: 0xbb, sequence: 100 + i, timestamp: 160 * uint32(i)}, 160, time.Duration(i)*20*time.Millisecond, 8000)
	}
	h := header{sequence: 1, timestamp: 5}
	if !out.next(&h, time.Second, 8000) {
		t.Fatal("packet did not go out")
	}
	out.count(160)
	theirs, err := rtcp.Marshal([]rtcp.Packet{&rtcp.SenderReport{SSRC: 0xbb, NTPTime: 0x1122334455667788}})
	if err != nil {
		t.Fatal(err)
	}
	readRTCP(theirs, &from, 2*time.Second, now)
	block := rtcp.ReceptionReport{SSRC: 0xbb, FractionLost: 2 * 256 / 12, TotalLost: 2, LastSequenceNumber: 111, LastSenderReport: 0x33445566, Delay: 1 << 16}
	want = []rtcp.Packet{&rtcp.SenderReport{
		SSRC: 0xaa, NTPTime: ntpTime(now.Add(3 * time.Second)), RTPTime: h.timestamp + 2*8000, PacketCount: 1, OctetCount: 160,
		Reports: []rtcp.ReceptionReport{block},
	}, description}
	compare("sent and received", build(3*time.Second))
	block.FractionLost, block.Delay = 0, 2<<16
	want = []rtcp.Packet{&rtcp.ReceiverReport{SSRC: 0xaa, Reports: []rtcp.ReceptionReport{block}}, description}
	compare("nothing since", build(4*time.Second))
}

func TestReadRTCP(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	middle := uint32(ntpTime(now.Add(-300*time.Millisecond)) >> 16)
	block := func(ssrc uint32) rtcp.ReceptionReport {
		return rtcp.ReceptionReport{SSRC: ssrc, FractionLost: 9, TotalLost: 77, Jitter: 80, LastSenderReport: middle, Delay: 1 << 14}
	}
	raw, err := rtcp.Marshal([]rtcp.Packet{
		&rtcp.ReceiverReport{SSRC: 1, Reports: []rtcp.ReceptionReport{block(5), block(0xaa)}},
		&rtcp.Goodbye{Sources: []uint32{1}},
	})
	if err != nil {
		t.Fatal(err)
	}
	reader := terminal{out: outgoing{ssrc: 0xaa}}
	n := &reader.in
	readRTCP(raw, &reader, 0, now)
	if n.theirLost.Load() != 77 || n.theirFraction.Load() != 9 || n.theirJitter.Load() != 80 {
		t.Errorf("got %d, %d, %d", n.theirLost.Load(), n.theirFraction.Load(), n.theirJitter.Load())
	}
	if got := time.Duration(n.roundTrip.Load()).Round(time.Millisecond); got != 50*time.Millisecond {
		t.Errorf("round trip %v, want 50ms", got)
	}
	cut := terminal{out: outgoing{ssrc: 0xaa}}
	other := &cut.in
	for size := range raw {
		readRTCP(raw[:size], &cut, 0, now) // cut anywhere
	}
	cut.out.ssrc = 0xee
	readRTCP(raw, &cut, 0, now)
	if other.theirLost.Load() != 77 && other.theirLost.Load() != 0 {
		t.Errorf("got %d", other.theirLost.Load())
	}
}

func FuzzReadRTCP(f *testing.F) {
	f.Add([]byte{0x81, 201, 0, 7, 0, 0, 0, 1, 0, 0, 0, 0xaa, 9, 0, 0, 77, 0, 0, 0, 0, 0, 0, 0, 80, 0, 0, 0, 1, 0, 0, 0, 1})
	f.Add([]byte{0x80, 200, 0, 6, 0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Add(binary.BigEndian.AppendUint32(nil, 0x80c9ffff))
	f.Fuzz(func(t *testing.T, p []byte) {
		before := bytes.Clone(p)
		b := newBridge(time.Unix(1e9, 0), false)
		b.ends[0].out.ssrc, b.ends[0].clock = 0xaa, new(sourceClock)
		readRTCP(p, &b.ends[0], time.Second, time.Unix(1e9, 0))
		if !bytes.Equal(p, before) {
			t.Error("packet changed")
		}
		if trip := b.ends[0].in.roundTrip.Load(); trip < 0 || trip > int64(16*time.Second) {
			t.Errorf("round trip of %d", trip)
		}
	})
}
