package sipstack

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func streamLimits() *Limits {
	l := Limits{}.withDefaults()
	return &l
}

// cut frames a whole stream.
func cut(r io.Reader) (messages []string, pings int, err error) {
	f := newFramer(r, streamLimits(), func(bool) {})
	for {
		text, err := f.next()
		switch {
		case err != nil:
			return messages, pings, err
		case text == "":
			pings++
		default:
			messages = append(messages, text)
		}
	}
}

func TestFramer(t *testing.T) {
	one := text("OPTIONS sip:a SIP/2.0", "l: 4") + "abcd"
	two := text("OPTIONS sip:b SIP/2.0", "CONTENT-LENGTH : 0")
	folded := text("OPTIONS sip:c SIP/2.0", "Content-Length:", "  2", "X: y") + "hi"
	bare := "OPTIONS sip:d SIP/2.0\nl: 1\n\nz"
	large := text("OPTIONS sip:e SIP/2.0", "l: 49152") + strings.Repeat("x", 49152)
	for _, row := range []struct {
		name  string
		in    string
		want  []string
		pings int
		code  int
	}{
		{"one", one, []string{one}, 0, 0},
		{"two", one + two, []string{one, two}, 0, 0},
		{"folded length", folded + two, []string{folded, two}, 0, 0},
		{"bare line feeds", bare + one, []string{bare, one}, 0, 0},
		{"ping", "\r\n\r\n", nil, 1, 0},
		{"pings and messages", "\r\n\r\n" + one + "\r\n\r\n\r\n\r\n" + two, []string{one, two}, 3, 0},
		{"single line ends", "\r\n" + one + "\r\n" + two + "\n\r\n" + one, []string{one, two, one}, 0, 0},
		{"largest body", large + one, []string{large, one}, 0, 0},
		{"no length", text("OPTIONS sip:a SIP/2.0", "X: y") + one, nil, 0, 400},
		{"two lengths", text("OPTIONS sip:a SIP/2.0", "l: 0", "Content-Length: 4") + "abcd", nil, 0, 400},
		{"length that goes on", text("OPTIONS sip:a SIP/2.0", "l: 1", " 0"), nil, 0, 400},
		{"length of text", text("OPTIONS sip:a SIP/2.0", "l: x"), nil, 0, 400},
		{"negative length", text("OPTIONS sip:a SIP/2.0", "l: -1"), nil, 0, 400},
		{"huge length", text("OPTIONS sip:a SIP/2.0", "l: 4294967296"), nil, 0, 400},
		{"body too large", text("OPTIONS sip:a SIP/2.0", "l: 49153"), nil, 0, 413},
		{"endless line", one + strings.Repeat("x", 1<<20), []string{one}, 0, 513},
		{"endless headers", strings.Repeat("X: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n", 1<<15), nil, 0, 513},
	} {
		t.Run(row.name, func(t *testing.T) {
			for name, r := range map[string]io.Reader{
				"whole": strings.NewReader(row.in), "octets": iotest.OneByteReader(strings.NewReader(row.in)), "halves": iotest.HalfReader(strings.NewReader(row.in)),
			} {
				got, pings, err := cut(r)
				code := 0
				var broken *frameError
				if errors.As(err, &broken) {
					code = broken.refusal.code
				} else if !errors.Is(err, io.EOF) {
					t.Errorf("%s: %v", name, err)
				}
				if strings.Join(got, "|") != strings.Join(row.want, "|") || pings != row.pings || code != row.code {
					t.Errorf("%s: got %d messages, %d pings, %d; want %d, %d, %d", name, len(got), pings, code, len(row.want), row.pings, row.code)
				}
			}
		})
	}
}

// What a connection holds is bounded, whatever comes and however slowly.
func TestFramerHoldsLittle(t *testing.T) {
	endless := iotest.HalfReader(io.MultiReader(strings.NewReader("OPTIONS sip:a SIP/2.0\r\nX: "), neverEnding('x')))
	f := newFramer(endless, streamLimits(), func(bool) {})
	if _, err := f.next(); err == nil {
		t.Fatal("no error")
	}
	if len(f.buf) > 64<<10 {
		t.Errorf("holds %d octets", len(f.buf))
	}
}

type neverEnding byte

func (b neverEnding) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(b)
	}
	return len(p), nil
}

// FuzzStream wants a stream to be cut alike however it arrives, and every
// message to be one that the datagram parser takes to its end.
func FuzzStream(f *testing.F) {
	for _, raw := range corpora(f) {
		f.Add([]byte(raw+raw), byte(5))
	}
	f.Add([]byte(text("OPTIONS sip:a SIP/2.0", "l: 4")+"abcd\r\n\r\n"), byte(3))
	f.Add([]byte("\r\n\r\n\r\nX: y\nContent-Length:\n 3\n\nabc\r"), byte(1))
	f.Fuzz(func(t *testing.T, in []byte, step byte) {
		whole, pings, err := cut(strings.NewReader(string(in)))
		pieces, pings2, err2 := cut(&stepReader{in, int(step)%7 + 1})
		if strings.Join(whole, "|") != strings.Join(pieces, "|") || pings != pings2 || errors.Is(err, io.EOF) != errors.Is(err2, io.EOF) {
			t.Fatalf("whole: %d messages, %d pings, %v; pieces: %d, %d, %v", len(whole), pings, err, len(pieces), pings2, err2)
		}
		total := 4 * pings
		for _, m := range whole {
			total += len(m)
		}
		if total > len(in) {
			t.Fatalf("%d octets out of %d", total, len(in))
		}
	})
}

// stepReader gives n octets at a time.
type stepReader struct {
	left []byte
	n    int
}

func (r *stepReader) Read(p []byte) (int, error) {
	if len(r.left) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), r.n)], r.left)
	r.left = r.left[n:]
	return n, nil
}
