package webrtc

import "slices"

// nomination decides which of several nominated pairs carries the media.
//
// A browser nominates in one of two ways. By RFC 8445 it nominates the one pair
// that it uses, and when its network changes, another one, often of a lower
// priority: the newest has to win. By RFC 5245 §8.1.1.2 it may nominate all at
// once, and uses the best that works: then the highest priority has to win, or
// our DTLS flights go to it from an address where it does not listen.
//
// So a better pair wins at once (pion sees to that), and a worse one when it is
// nominated twice without the present one being nominated in between: who uses
// a pair keeps nominating it.
//
// Who nominates at once and then uses another pair than the best (the first one
// that answered, say) is found out by what comes over it; see media.
//
// A nomination belongs to the agent's loop.
type nomination struct {
	current, rival uint64 // ids of pairs, 0: none
	priority       uint64 // of current
	seen           []uint64
}

// fresh tells whether a pair is nominated for the first time.
func (n *nomination) fresh(id uint64) bool {
	if slices.Contains(n.seen, id) {
		return false
	}
	if len(n.seen) == maxPaths {
		n.seen = slices.Delete(n.seen, 0, 1)
	}
	n.seen = append(n.seen, id)
	return true
}

// nominated takes one nomination. It returns true if the pair is to be selected
// though the agent would not do so.
func (n *nomination) nominated(id, priority uint64) (change bool) {
	switch {
	case n.current == 0 || priority > n.priority:
		n.current, n.priority, n.rival = id, priority, 0
	case id == n.current:
		n.rival = 0
	case id == n.rival:
		n.current, n.priority, n.rival = id, priority, 0
		return true
	default:
		n.rival = id
	}
	return false
}

// follow takes a pair for the nominated one which the browser uses without having
// nominated it.
func (n *nomination) follow(id, priority uint64) {
	n.current, n.priority, n.rival = id, priority, 0
}

// pairPriority is RFC 8445 §6.1.2.3, of the controlling and the controlled
// side's candidates; with 2^32-1 in the place of 2^32, as pion has it, since
// both have to come to the same order.
func pairPriority(controlling, controlled uint32) uint64 {
	p := (1<<32-1)*uint64(min(controlling, controlled)) + 2*uint64(max(controlling, controlled))
	if controlling > controlled {
		p++
	}
	return p
}
