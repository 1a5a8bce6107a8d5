// Package mutant breaks SIP messages for tests: what it makes looks enough like SIP to get past the first look, and is
// wrong somewhere behind it.
//
//	m := mutant.New(rand.NewPCG(4475, 5118), seeds...)
//	text := m.Next()
//
// The generator is the caller's, so that a failure comes again with the same seed. Nothing is running, and a [Mutator]
// belongs to one goroutine.
//
// RFC 3261 §7 is what it breaks; RFC 4475 and RFC 5118 are good seeds.
package mutant

import (
	"bytes"
	"fmt"
	"math/rand/v2"
)

// Mutator makes mutants of its seeds.
type Mutator struct {
	// Seeds are the messages that are broken, as they go over the wire. They may be changed between mutants; there
	// must be at least one.
	Seeds []string

	rand *rand.Rand
	n    int
}

// New makes a mutator that draws from source.
func New(source rand.Source, seeds ...string) *Mutator {
	return &Mutator{Seeds: seeds, rand: rand.New(source)}
}

// Next gives the next mutant: a seed with up to four faults. Most are given a
// branch and Call-ID of their own, so that they are no retransmissions.
func (m *Mutator) Next() string {
	m.n++
	b := []byte(m.Seeds[m.rand.IntN(len(m.Seeds))])
	if m.rand.IntN(4) > 0 {
		b = bytes.Replace(b, []byte("branch=z9hG4bK"), fmt.Appendf(nil, "branch=z9hG4bK%d", m.n), 1)
		b = bytes.Replace(b, []byte("Call-ID: "), fmt.Appendf(nil, "Call-ID: %d", m.n), 1)
	}
	for range m.rand.IntN(5) {
		b = m.fault(b)
	}
	return string(b)
}

// meaningful are octets that parsers look for.
const meaningful = "\r\n\t :;,<>\"\\@[]=?%\x00\xff"

// fault makes one change.
func (m *Mutator) fault(b []byte) []byte {
	if len(b) < 2 {
		return b
	}
	at := m.rand.IntN(len(b) - 1)
	switch m.rand.IntN(7) {
	case 0: // a bit
		b = bytes.Clone(b)
		b[at] ^= 1 << m.rand.IntN(8)
	case 1: // an octet that means something
		b = bytes.Clone(b)
		b[at] = meaningful[m.rand.IntN(len(meaningful))]
	case 2: // a piece is lost
		b = append(bytes.Clone(b[:at]), b[min(len(b), at+1+m.rand.IntN(40)):]...)
	case 3: // a piece is doubled
		piece := bytes.Clone(b[at:min(len(b), at+1+m.rand.IntN(200))])
		b = append(bytes.Clone(b[:at]), append(piece, b[at:]...)...)
	case 4: // the tail of another message
		other := m.Seeds[m.rand.IntN(len(m.Seeds))]
		b = append(bytes.Clone(b[:at]), other[m.rand.IntN(len(other)+1):]...)
	case 5: // two lines change places
		lines := bytes.SplitAfter(b, []byte("\n"))
		i, j := m.rand.IntN(len(lines)), m.rand.IntN(len(lines))
		lines[i], lines[j] = lines[j], lines[i]
		b = bytes.Join(lines, nil)
	case 6: // a number out of range
		if i := bytes.IndexAny(b[at:], "0123456789"); i >= 0 {
			numbers := []string{"-1", "0", "99999999999999999999", "2147483648", "65536", "1e9"}
			b = append(bytes.Clone(b[:at+i]), append([]byte(numbers[m.rand.IntN(len(numbers))]), b[at+i+1:]...)...)
		}
	}
	return b
}
