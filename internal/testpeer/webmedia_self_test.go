//go:build integration

package testpeer

import (
	"strings"
	"testing"
)

// Two browsers' sides against each other: what the tests' own media can do without a gateway.
func TestIntegrationWebMediaToItself(t *testing.T) {
	t.Parallel()
	a, b := newWebMedia(t, 500, "PCMU"), newWebMedia(t, 700)
	answer, err := b.answer(a.offer("sendrecv"))
	if err != nil {
		t.Fatal(err)
	}
	if err := a.accept(answer); err != nil {
		t.Fatal(err)
	}
	a.awaitTone(700)
	b.awaitTone(500)
	if err := a.accept(strings.Replace(answer, "a=ice-ufrag:", "a=ice-ufrag:x", 1)); err == nil {
		t.Error("a change of the transport went unnoticed")
	}
	b.close()
	a.awaitSilence()
}
