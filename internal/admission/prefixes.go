package admission

import "strings"

// prefixes is a tree of the beginnings of numbers. Each step down is one symbol, so that a number is looked up without
// allocating, and the longest beginning is the last one met.
type prefixes struct{ nodes []prefixNode }

type prefixNode struct {
	next [12]uint16 // by symbol; 0: none, for nothing leads back to the root
	mark mark
}

// A mark is what is said of numbers that begin so.
type mark struct {
	allow   bool
	deny    *Denial // by the operator; he is asked first
	builtin *Denial // for anonymous callers
}

// symbol is the branch of a digit, '*' or '#', or -1.
func symbol(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case c == '*':
		return 10
	case c == '#':
		return 11
	}
	return -1
}

// at returns the mark of exactly this beginning, made when there is none. It is nil when that cannot be dialled.
func (p *prefixes) at(digits string) *mark {
	if len(p.nodes) == 0 {
		p.nodes = make([]prefixNode, 1)
	}
	node := 0
	for i := range len(digits) {
		s := symbol(digits[i])
		if s < 0 || len(p.nodes) > 1<<16-1 {
			return nil
		}
		if p.nodes[node].next[s] == 0 {
			p.nodes = append(p.nodes, prefixNode{})
			p.nodes[node].next[s] = uint16(len(p.nodes) - 1)
		}
		node = int(p.nodes[node].next[s])
	}
	return &p.nodes[node].mark
}

// judge finds the longest beginning of digits of which something is said that concerns the caller. Of the same
// beginning what the operator says counts more than what is built in, and what he denies more than what he allows.
func (p *prefixes) judge(digits []byte, builtin bool) (allowed bool, denial *Denial) {
	node := 0
	for i := 0; len(p.nodes) > 0; i++ {
		switch m := &p.nodes[node].mark; {
		case m.deny != nil:
			allowed, denial = false, m.deny
		case m.allow:
			allowed, denial = true, nil
		case builtin && m.builtin != nil:
			allowed, denial = false, m.builtin
		}
		if i == len(digits) {
			break
		}
		s := symbol(digits[i])
		if s < 0 || p.nodes[node].next[s] == 0 {
			break
		}
		node = int(p.nodes[node].next[s])
	}
	return allowed, denial
}

// addRanges marks ranges in the form of premiumRanges.
func (p *prefixes) addRanges(text string, d *Denial) {
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		switch len(fields) {
		case 0:
		case 1:
			p.at(fields[0]).builtin = d
		default:
			for _, national := range fields[1:] {
				p.at(fields[0] + national).builtin = d
			}
		}
	}
}
