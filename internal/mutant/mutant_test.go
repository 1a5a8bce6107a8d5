package mutant

import (
	"math/rand/v2"
	"strings"
	"testing"
)

const seed = "OPTIONS sip:a@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\n\r\n"

// TestNext: the same generator gives the same mutants, seeds stay as they are, and most mutants differ from them and from
// each other.
func TestNext(t *testing.T) {
	seeds := []string{seed, strings.ReplaceAll(seed, "OPTIONS", "INVITE")}
	a, b := New(rand.NewPCG(1, 2), seeds...), New(rand.NewPCG(1, 2), seeds...)
	different := map[string]bool{}
	for i := range 1000 {
		m := a.Next()
		if again := b.Next(); m != again {
			t.Fatalf("mutant %d: %q, and %q", i, m, again)
		}
		different[m] = true
	}
	if len(different) < 700 || a.Seeds[0] != seed {
		t.Errorf("%d different mutants of 1000, seed %q", len(different), a.Seeds[0])
	}
}

// TestFaultsOfShortMessages: even what is empty, or nearly, can be a seed.
func TestFaultsOfShortMessages(t *testing.T) {
	m := New(rand.NewPCG(3, 4), "", "a", "ab", "a\n")
	for range 10000 {
		m.Next()
	}
}
