package feedback

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtcp"
)

const (
	ms    = time.Millisecond
	us    = 0x01020304
	them  = 0x05060708
	third = 0x090a0b0c
)

// compound parses what was built by another implementation.
func compound(t *testing.T, p []byte) []rtcp.Packet {
	t.Helper()
	packets, err := rtcp.Unmarshal(p)
	if err != nil {
		t.Fatalf("%x: %v", p, err)
	}
	return packets
}

// TestCompound reads a compound packet of ours by another implementation and
// by Next.
func TestCompound(t *testing.T) {
	for _, cname := range []string{"", "a", "ab", "abc", "abcd", strings.Repeat("x", 300)} {
		p := AppendReceiverReport(nil, us)
		p = AppendCNAME(p, us, cname)
		p = AppendPLI(p, us, them)
		p = AppendFIR(p, us, them, 7)
		p = AppendREMB(p, us, 1_000_000, them, third)
		packets := compound(t, p)
		if len(packets) != 5 {
			t.Fatalf("%d packets, want 5", len(packets))
		}
		if d := packets[1].(*rtcp.SourceDescription); d.Chunks[0].Source != us || d.Chunks[0].Items[0].Text != cname[:min(len(cname), 255)] {
			t.Errorf("CNAME %q came out as %v", cname, d)
		}
		if got := packets[2].(*rtcp.PictureLossIndication); got.SenderSSRC != us || got.MediaSSRC != them {
			t.Errorf("got %v", got)
		}
		if got := packets[3].(*rtcp.FullIntraRequest); got.SenderSSRC != us || got.FIR[0] != (rtcp.FIREntry{SSRC: them, SequenceNumber: 7}) {
			t.Errorf("got %v", got)
		}
		if got := packets[4].(*rtcp.ReceiverEstimatedMaximumBitrate); got.Bitrate != 1_000_000 || !slices.Equal(got.SSRCs, []uint32{them, third}) {
			t.Errorf("got %v", got)
		}
		var types []uint8
		for m, rest, ok := Next(p); ok; m, rest, ok = Next(rest) {
			types = append(types, m.Type)
			if m.Sender != us {
				t.Errorf("sender %x of type %d", m.Sender, m.Type)
			}
		}
		if !bytes.Equal(types, []byte{ReceiverReport, SourceDescription, PayloadFeedback, PayloadFeedback, PayloadFeedback}) {
			t.Errorf("types %v", types)
		}
	}
}

func TestNextRefuses(t *testing.T) {
	tests := []struct {
		name string
		p    []byte
	}{
		{"nothing", nil},
		{"short", []byte{0x80, 200, 0, 0}},
		{"version 1", []byte{0x40, 201, 0, 1, 0, 0, 0, 0}},
		{"no room for an SSRC", []byte{0x80, 201, 0, 0, 0, 0, 0, 0}},
		{"longer than the packet", []byte{0x80, 201, 0, 2, 0, 0, 0, 0}},
		{"feedback without its stream", []byte{0x81, 206, 0, 1, 0, 0, 0, 0}},
		{"no padding", []byte{0xa0, 201, 0, 1, 0, 0, 0, 0}},
		{"too much padding", []byte{0xa0, 201, 0, 2, 0, 0, 0, 0, 0, 0, 0, 5}},
		{"padding over the stream", []byte{0xa1, 206, 0, 2, 0, 0, 0, 0, 0, 0, 0, 4}},
	}
	for _, tt := range tests {
		if m, _, ok := Next(tt.p); ok {
			t.Errorf("%s: read as %+v", tt.name, m)
		}
	}
}

func TestNACK(t *testing.T) {
	tests := []struct {
		name string
		lost []uint16
		want int // entries
	}{
		{"one", []uint16{7}, 1},
		{"an entry's width", []uint16{7, 8, 23}, 1},
		{"beyond it", []uint16{7, 24}, 2},
		{"around zero", []uint16{65530, 65535, 0, 3, 100}, 2},
		{"many", []uint16{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20}, 2},
		{"none", nil, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := AppendNACK(nil, us, them, tt.lost)
			m, rest, ok := Next(p)
			if !ok || len(rest) != 0 || !m.IsNACK() || m.Media != them || len(m.Body) != 4*tt.want {
				t.Fatalf("got %+v, %d octets behind", m, len(rest))
			}
			if got := m.AppendLost(make([]uint16, 0, 64)); !slices.Equal(got, tt.lost) {
				t.Errorf("got %v, want %v", got, tt.lost)
			}
			if got := m.AppendLost(make([]uint16, 0, 2)); len(got) > 2 {
				t.Errorf("%d numbers in room for two", len(got))
			}
			if tt.want == 0 {
				return
			}
			var theirs []uint16
			for _, pair := range compound(t, p)[0].(*rtcp.TransportLayerNack).Nacks {
				theirs = append(theirs, pair.PacketList()...)
			}
			if !slices.Equal(theirs, tt.lost) {
				t.Errorf("another reader has %v, want %v", theirs, tt.lost)
			}
		})
	}
}

func TestKeyframeStreams(t *testing.T) {
	for _, tt := range []struct {
		name string
		p    []byte
		want []uint32
	}{
		{"PLI", AppendPLI(nil, us, them), []uint32{them}},
		{"FIR", AppendFIR(nil, us, them, 1), []uint32{them}},
		{"REMB", AppendREMB(nil, us, 1, them), nil},
		{"NACK", AppendNACK(nil, us, them, []uint16{1}), nil},
	} {
		m, _, _ := Next(tt.p)
		if got := m.AppendKeyframeStreams(make([]uint32, 0, 4)); !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %x, want %x", tt.name, got, tt.want)
		}
	}
	many := Message{Type: PayloadFeedback, Format: formatFIR, Body: make([]byte, 800)}
	if got := many.AppendKeyframeStreams(make([]uint32, 0, 4)); len(got) != 4 {
		t.Errorf("%d streams in room for 4", len(got))
	}
}

func TestRates(t *testing.T) {
	for _, rate := range []uint64{0, 1, 131071, 131072, 262143, 262144, 5_000_000, 1 << 40} {
		remb, _, _ := Next(AppendREMB(nil, us, rate, them))
		if got, ok := remb.REMB(); !ok || got > rate || rate-got > rate>>17 {
			t.Errorf("REMB of %d: got %d, %v", rate, got, ok)
		}
		tmmbr, _, _ := Next(AppendTMMBR(nil, us, them, rate, 40))
		got, overhead, ok := tmmbr.TMMBR(them)
		if !ok || got > rate || rate-got > rate>>16 || overhead != 40 {
			t.Errorf("TMMBR of %d: got %d, %d, %v", rate, got, overhead, ok)
		}
		if _, _, ok := tmmbr.TMMBR(us); ok {
			t.Error("TMMBR for another stream was taken")
		}
		tmmbn, _, _ := Next(AppendTMMBN(nil, us, them, rate, 40))
		if _, _, ok := tmmbn.TMMBR(them); ok {
			t.Error("TMMBN was taken for TMMBR")
		}
		if _, ok := tmmbr.REMB(); ok {
			t.Error("TMMBR was taken for REMB")
		}
	}
	huge := Message{Type: PayloadFeedback, Format: formatApplication, Body: []byte("REMB\x01\xff\xff\xff")}
	if got, ok := huge.REMB(); ok {
		t.Errorf("a rate beyond 64 bits was read as %d", got)
	}
	huge = Message{Type: TransportFeedback, Format: formatTMMBR, Body: []byte{0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff}}
	if got, _, ok := huge.TMMBR(1); ok {
		t.Errorf("a rate beyond 64 bits was read as %d", got)
	}
}

func TestMediaControl(t *testing.T) {
	const polycom = `<?xml version="1.0" encoding="utf-8" ?>
<media_control>
  <vc_primitive>
    <to_encoder>
      <picture_fast_update>
      </picture_fast_update>
    </to_encoder>
  </vc_primitive>
</media_control>`
	tests := []struct {
		name, body string
		want       bool
		bad        bool
	}{
		{"ours", string(FastUpdate()), true, false},
		{"with space", polycom, true, false},
		{"another charset", strings.Replace(polycom, "utf-8", "windows-1252", 1), true, false},
		{"an error report", `<media_control><general_error>no</general_error></media_control>`, false, false},
		{"another document", `<picture_fast_update/>`, false, true},
		{"cut off", polycom[:60], false, true},
		{"an entity", `<!DOCTYPE a [<!ENTITY b "c">]><media_control>&b;</media_control>`, false, true},
		{"no XML", "picture_fast_update", false, true},
		{"empty", "", false, true},
		{"too long", polycom + strings.Repeat(" ", maxMediaControl), false, true},
	}
	for _, tt := range tests {
		got, err := MediaControl([]byte(tt.body))
		if got != tt.want || errors.Is(err, ErrMediaControl) != tt.bad {
			t.Errorf("%s: got %v, %v", tt.name, got, err)
		}
	}
}

func FuzzNext(f *testing.F) {
	f.Add(AppendNACK(AppendReceiverReport(nil, us), us, them, []uint16{1, 2, 40}))
	f.Add(AppendFIR(AppendPLI(AppendCNAME(nil, us, "x"), us, them), us, them, 1))
	f.Add(AppendTMMBR(AppendREMB(nil, us, 1e6, them), us, them, 1e6, 40))
	f.Fuzz(func(t *testing.T, p []byte) {
		var lost [32]uint16
		for m, rest, ok := Next(p); ok; m, rest, ok = Next(rest) {
			if m.IsNACK() && len(m.AppendLost(lost[:0])) > len(lost) {
				t.Error("more lost packets than room")
			}
			m.AppendKeyframeStreams(make([]uint32, 0, 4))
			m.REMB()
			m.TMMBR(them)
			if len(rest) >= len(p) {
				t.Fatal("no progress")
			}
			p = rest
		}
	})
}

func FuzzMediaControl(f *testing.F) {
	f.Add(FastUpdate())
	f.Fuzz(func(t *testing.T, body []byte) {
		if want, err := MediaControl(body); want && err != nil {
			t.Error("a request in a bad document")
		}
	})
}
