package offeranswer

import (
	"fmt"
	"strings"
)

// FragmentType is the media type of what [ParseFragment] reads.
const FragmentType = "application/trickle-ice-sdpfrag"

// Fragment is what one party trickles: candidates that it has found since its
// description (RFC 8838, RFC 8840 §9).
type Fragment struct {
	// Ufrag of the credentials that the candidates belong to; other ones than
	// those of the description are of an ICE restart that is still to come.
	// Empty: not said.
	Ufrag string
	// Candidates as [ICE] has them, of all sections under that ufrag, since a
	// browser's sections share one transport.
	Candidates []Candidate
	// End: there will be no more (a=end-of-candidates).
	End bool
}

// ParseFragment reads the body of an INFO request with candidates. The limits
// and errors are those of [Parse]; candidates that we cannot use (TCP, mDNS and
// other names) are left out. text is not kept.
func ParseFragment(text []byte) (*Fragment, error) {
	if len(text) > MaxSize {
		return nil, fmt.Errorf("%d octets: %w", len(text), ErrMalformed)
	}
	p := parser{d: new(Description), versioned: true} // a fragment has no v= line
	p.current = &p.session
	number := 0
	for line := range strings.Lines(string(text)) {
		number++
		if err := p.line(strings.TrimRight(line, "\r\n")); err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
	}
	if err := p.finish(); err != nil {
		return nil, err
	}
	f := &Fragment{Ufrag: p.session.media.ICE.Ufrag, End: p.session.media.ICE.EndOfCandidates}
	for i := range p.d.Media {
		ice := &p.d.Media[i].ICE
		if f.Ufrag == "" {
			f.Ufrag = ice.Ufrag
		}
		if ice.Ufrag != f.Ufrag {
			continue
		}
		f.Candidates = append(f.Candidates, ice.Candidates...)
		f.End = f.End || ice.EndOfCandidates
	}
	if f.Ufrag != "" && !iceString(f.Ufrag, 4) {
		return nil, fmt.Errorf("ufrag: %w", ErrMalformed)
	}
	return f, nil
}
