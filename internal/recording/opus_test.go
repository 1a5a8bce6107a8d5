package recording

import (
	"bytes"
	"math"
	"testing"
)

func TestParseOpus(t *testing.T) {
	for _, row := range []struct {
		name   string
		packet []byte
		want   []opusFrame // nil: refused
	}{
		{"one frame", []byte{0xf8, 1, 2}, []opusFrame{{0xf8, []byte{1, 2}}}},
		{"DTX", []byte{0x08}, []opusFrame{{0x08, []byte{}}}},
		{"two equal", []byte{0xf9, 1, 2}, []opusFrame{{0xf8, []byte{1}}, {0xf8, []byte{2}}}},
		{"two odd", []byte{0xf9, 1, 2, 3}, nil},
		{"two", []byte{0xfa, 1, 7, 8, 9}, []opusFrame{{0xf8, []byte{7}}, {0xf8, []byte{8, 9}}}},
		{"two, the first too long", []byte{0xfa, 9, 7}, nil},
		{"three equal", []byte{0xfb, 3, 1, 2, 3}, []opusFrame{{0xf8, []byte{1}}, {0xf8, []byte{2}}, {0xf8, []byte{3}}}},
		{"three empty", []byte{0xfb, 3}, []opusFrame{{0xf8, nil}, {0xf8, nil}, {0xf8, nil}}},
		{"two of any length, padded", []byte{0xfb, 0xc2, 2, 1, 5, 6, 0, 0}, []opusFrame{{0xf8, []byte{5}}, {0xf8, []byte{6}}}},
		{"none", []byte{0xfb, 0}, nil},
		{"over 120 ms", []byte{0xfb, 7, 1, 2, 3, 4, 5, 6, 7}, nil},
		{"padding without end", []byte{0xfb, 0x41, 255}, nil},
		{"padding too long", []byte{0xfb, 0x41, 9, 1}, nil},
		{"lengths cut off", []byte{0xfb, 0x83, 252}, nil},
		{"frames cut off", []byte{0xfb, 0x82, 200, 1}, nil},
		{"frame too long", append([]byte{0xf8}, make([]byte, maxFrame+1)...), nil},
		{"nothing", nil, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, err := parseOpus(row.packet, nil)
			if (err != nil) != (row.want == nil) || len(got) != len(row.want) {
				t.Fatalf("got %v, %v, want %v", got, err, row.want)
			}
			for i := range got {
				if got[i].toc != row.want[i].toc || !bytes.Equal(got[i].data, row.want[i].data) {
					t.Errorf("frame %d: got %v, want %v", i, got[i], row.want[i])
				}
			}
		})
	}
}

// TestDuetLengths has both streams of every packet last equally long, whatever the sides send.
func TestDuetLengths(t *testing.T) {
	for _, left := range []byte{0, 1, 2, 3, 12, 13, 16, 17, 18, 19, 31} {
		for _, right := range []byte{0, 1, 2, 3, 15, 28, 29, 30, 31} {
			var d duet
			for side, config := range [2]byte{left, right} {
				f := opusFrame{toc: config << 3}
				for at := int64(side * 300); at < 48000; at += f.samples() {
					if err := d.add(side, at, []byte{f.toc, byte(side + 1), 9}); err != nil {
						t.Fatal(err)
					}
				}
			}
			var total int64
			err := d.advance(math.MaxInt64/2, false, func(packet []byte, samples, position int64) error {
				l, r := takeApart(t, packet)
				if l != samples || r != samples || position != total {
					t.Fatalf("configurations %d and %d: a packet of %d and %d samples at %d, want %d at %d", left, right, l, r, position, samples, total)
				}
				total += samples
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if total < 48000 || total > 48000+opusLimit {
				t.Errorf("configurations %d and %d: got %d samples, want a second", left, right, total)
			}
			if d.late != [2]uint64{} {
				t.Errorf("configurations %d and %d: got %v late", left, right, d.late)
			}
		}
	}
}

// takeApart reads a multistream packet of two streams, the first one self-delimited (RFC 6716 appendix B), and returns
// how long each lasts.
func takeApart(t *testing.T, p []byte) (left, right int64) {
	t.Helper()
	toc, rest := p[0]&^3, p[1:]
	count := 1
	if p[0]&3 == 3 {
		if rest[0]&0xc0 != 0x80 {
			t.Fatalf("got frame count %#x, want sizes and no padding", rest[0])
		}
		count, rest = int(rest[0]&0x3f), rest[1:]
	}
	total := 0
	for range count {
		n, behind, ok := opusLength(rest)
		if !ok {
			t.Fatal("no length")
		}
		total, rest = total+n, behind
	}
	frames, err := parseOpus(rest[total:], nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range frames {
		right += f.samples()
	}
	return int64(count) * opusFrame{toc: toc}.samples(), right
}

func TestOpusLengths(t *testing.T) {
	for n := range maxFrame + 1 {
		got, rest, ok := opusLength(appendOpusLength(nil, n))
		if got != n || len(rest) > 0 || !ok {
			t.Fatalf("%d becomes %d", n, got)
		}
	}
}

func FuzzParseOpus(f *testing.F) {
	f.Add([]byte{0xfb, 0xc2, 2, 1, 5, 6, 0, 0})
	f.Add([]byte{0xfa, 1, 7, 8, 9})
	f.Fuzz(func(t *testing.T, p []byte) {
		frames, err := parseOpus(p, nil)
		if err != nil {
			return
		}
		var total int64
		for _, frame := range frames {
			total += frame.samples()
		}
		if total > opusLimit || len(frames) == 0 {
			t.Fatalf("%d frames of %d samples", len(frames), total)
		}
		again, err := parseOpus(appendOpus(nil, frames, false), nil)
		if err != nil || len(again) != len(frames) {
			t.Fatalf("written again, %d frames become %d, %v", len(frames), len(again), err)
		}
		for i := range again {
			if !bytes.Equal(again[i].data, frames[i].data) || again[i].toc != frames[i].toc {
				t.Fatalf("frame %d: %v becomes %v", i, frames[i], again[i])
			}
		}
	})
}
