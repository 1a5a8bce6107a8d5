package breaker

import (
	"fmt"

	"webrtc2sip/internal/offeranswer"
)

// AddCandidates takes candidates that a browser sends after its description, as
// the body of RFC 8840 (application/trickle-ice-sdpfrag): of the description that
// came last, or of the one that its ufrag says is to come. A lite agent learns
// the browser's addresses from its checks and lets them be. Errors wrap
// ErrMalformed of package offeranswer, or ErrNoOffer where that side of such a
// call has no ICE of ours. It never waits for the network.
func (b *Breaker) AddCandidates(id string, from offeranswer.Side, fragment []byte) error {
	f, err := offeranswer.ParseFragment(fragment)
	if err != nil {
		return fmt.Errorf("candidates of the %s: %w", from, err)
	}
	b.mu.Lock()
	c := b.calls[id]
	b.mu.Unlock()
	if c == nil {
		return fmt.Errorf("candidates of the %s: no such call: %w", from, offeranswer.ErrNoOffer)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.ends[from]
	if c.gone.Load() || e == nil || e.web == nil {
		return fmt.Errorf("candidates of the %s: no ICE: %w", from, offeranswer.ErrNoOffer)
	}
	e.web.AddCandidates(f.Ufrag, f.Candidates)
	return nil
}
