package legacy

import (
	"encoding/binary"
	"net/netip"
	"time"

	"webrtc2sip/internal/offeranswer"
)

const (
	// trialPackets in sequence over trialTime make an unannounced source
	// trustworthy enough to be learnt.
	trialPackets = 5
	trialTime    = 60 * time.Millisecond
	// rebindSilence of the known source comes before its stream may continue
	// from another address; rebindWindow is how far its sequence may have gone
	// on by then (10 s of 20 ms packets).
	rebindSilence = 500 * time.Millisecond
	rebindWindow  = 500
)

// latch decides whether an RTP packet comes from the other party, and where to
// send. See the package documentation for its rules. It belongs to the loop.
type latch struct {
	local  netip.Addr // ours, as that side reaches us
	learns bool

	signalled netip.AddrPort
	current   netip.AddrPort // the only source, and the target
	locked    bool           // the signalled address has spoken
	learnt    bool           // current is another one than signalled
	moved     bool           // current was learnt just now

	stream stream // of current
	trial  trial
}

// stream is the last packet of a source.
type stream struct {
	ssrc uint32
	seq  uint16
	at   time.Time
}

type trial struct {
	from    netip.AddrPort
	stream  stream
	packets int
	since   time.Time
}

// signal sets the address of a description; the same one again changes nothing.
func (l *latch) signal(to netip.AddrPort) {
	if to == l.signalled {
		return
	}
	*l = latch{local: l.local, learns: l.learns, signalled: to, current: to}
}

// accept tells whether p, an RTP packet by its first octets, is the party's.
func (l *latch) accept(p []byte, from netip.AddrPort, now time.Time) bool {
	if !l.current.IsValid() || len(p) < 12 {
		return false
	}
	s := stream{ssrc: binary.BigEndian.Uint32(p[8:]), seq: binary.BigEndian.Uint16(p[2:]), at: now}
	switch {
	case from == l.current:
		l.locked = l.locked || from == l.signalled
	case !l.learns:
		return false
	case from == l.signalled && !l.locked:
		l.move(from)
		l.locked = true
	case l.locked || l.learnt:
		if !l.plausible(from) || !l.continues(s) {
			return false
		}
		l.move(from)
	default:
		if !l.plausible(from) || !l.try(s, from) {
			return false
		}
		l.move(from)
	}
	l.stream = s
	return true
}

// possible tells whether a packet that proves by its tag whose it is may come
// from an address.
func (l *latch) possible(from netip.AddrPort) bool {
	return l.current.IsValid() && (from == l.current || l.learns && (from == l.signalled || l.plausible(from)))
}

// prove takes the address of a packet that has proven whose it is for the
// party's.
func (l *latch) prove(from netip.AddrPort) {
	if from != l.current {
		l.move(from)
	}
	l.locked = l.locked || from == l.signalled
}

func (l *latch) move(to netip.AddrPort) {
	l.current, l.learnt, l.moved, l.trial = to, to != l.signalled, true, trial{}
}

// plausible tells whether the party may have that address at all.
func (l *latch) plausible(from netip.AddrPort) bool {
	if !offeranswer.MaySend(from, l.local) {
		return false
	}
	if from.Addr() == l.signalled.Addr() {
		return true
	}
	return inner(l.signalled.Addr()) && !inner(l.local) && !inner(from.Addr())
}

var sharedSpace = netip.MustParsePrefix("100.64.0.0/10") // RFC 6598: behind a carrier's NAT

// inner tells whether an address has no meaning outside its own network.
func inner(a netip.Addr) bool { return a.IsPrivate() || a.IsLoopback() || sharedSpace.Contains(a) }

// try counts consecutive packets of one source.
func (l *latch) try(s stream, from netip.AddrPort) bool {
	t := &l.trial
	if t.from != from || t.stream.ssrc != s.ssrc || t.stream.seq+1 != s.seq {
		// Another sprayer does not restart a trial under way, or it could
		// keep a phone from ever being learnt.
		if t.packets > 0 && t.from != from && s.at.Sub(t.stream.at) < rebindSilence {
			return false
		}
		*t = trial{from: from, since: s.at}
	}
	t.stream = s
	t.packets++
	return t.packets >= trialPackets && s.at.Sub(t.since) >= trialTime
}

// continues tells whether s goes on where the known stream fell silent.
func (l *latch) continues(s stream) bool {
	ahead := s.seq - l.stream.seq
	return !l.stream.at.IsZero() && s.ssrc == l.stream.ssrc &&
		ahead > 0 && ahead <= rebindWindow && s.at.Sub(l.stream.at) >= rebindSilence
}
