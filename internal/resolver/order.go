package resolver

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"time"
)

// plan is what a look-up found, ready to be put in order. It is not changed
// once it is made.
type plan struct {
	err     error   // why there is nothing, if entries is empty
	entries []entry // by rank; at most maxTargets
}

// entry is one host.
type entry struct {
	rank    int // service and priority in one: lower first, equal ones are drawn by weight
	weight  uint16
	targets []Target // one for each address
}

// sortEntries prepares entries for draw: by rank, and those of weight 0 first.
func sortEntries(entries []entry) {
	slices.SortStableFunc(entries, func(a, b entry) int {
		if c := cmp.Compare(a.rank, b.rank); c != 0 {
			return c
		}
		return cmp.Compare(min(a.weight, 1), min(b.weight, 1))
	})
}

// arrange gives the targets of a plan in an order drawn for this caller, dead
// ones last.
func (r *Resolver) arrange(p *plan) ([]Target, error) {
	if len(p.entries) == 0 {
		return nil, p.err
	}
	var order [maxTargets]uint8
	draw(p.entries, &order)
	total := 0
	for i := range p.entries {
		total += len(p.entries[i].targets)
	}
	out := make([]Target, 0, min(total, maxTargets))
	if r.dead.count.Load() == 0 {
		for _, i := range order[:len(p.entries)] {
			out = fill(out, p.entries[i].targets)
		}
		return out, nil
	}
	return r.deadLast(out, p, order[:len(p.entries)]), nil
}

// fill appends as many targets as there is room for.
func fill(out, targets []Target) []Target {
	return append(out, targets[:min(len(targets), cap(out)-len(out))]...)
}

// deadLast fills out in two rounds: the living, the dead.
func (r *Resolver) deadLast(out []Target, p *plan, order []uint8) []Target {
	now := time.Now()
	d := &r.dead
	d.mu.RLock()
	defer d.mu.RUnlock()
	for _, dead := range []bool{false, true} {
		for _, i := range order {
			for _, t := range p.entries[i].targets {
				if now.Before(d.until[key(t)]) == dead && len(out) < cap(out) {
					out = append(out, t)
				}
			}
		}
	}
	return out
}

// draw gives an order of entries: ranks in their order, within each the
// weighted draw of RFC 2782 ("Weight").
func draw(entries []entry, order *[maxTargets]uint8) {
	for i := range entries {
		order[i] = uint8(i)
	}
	for from := 0; from < len(entries); {
		to := from + 1
		for to < len(entries) && entries[to].rank == entries[from].rank {
			to++
		}
		drawGroup(entries, order[from:to])
		from = to
	}
}

// drawGroup puts entries of one rank in order: each place goes to the one
// whose running sum of weights first reaches a random number.
func drawGroup(entries []entry, group []uint8) {
	for ; len(group) > 1; group = group[1:] {
		sum := 0
		for _, i := range group {
			sum += int(entries[i].weight)
		}
		number, at := rand.IntN(sum+1), 0
		for running := int(entries[group[0]].weight); running < number; running += int(entries[group[at]].weight) {
			at++
		}
		chosen := group[at]
		copy(group[1:at+1], group[:at]) // the others keep their order, those of weight 0 first
		group[0] = chosen
	}
}
