//go:build integration

package testpeer

import (
	"fmt"
	"testing"
)

// TestIntegrationPhoneAtKamailio tries the tests' own WebSocket telephone on Kamailio's WebSocket
// server: two of them call each other with media, hold, cancel and decline, no gateway involved.
func TestIntegrationPhoneAtKamailio(t *testing.T) {
	t.Parallel()
	k := StartWebKamailio(t)
	open := func(user string) *phone {
		p := newPhone(t, phoneOptions{url: fmt.Sprintf("ws://127.0.0.1:%d", k.WS), user: user, domain: KamailioDomain, foreign: true})
		p.register(600)
		return p
	}
	alice, bob := open("alice"), open("bob")

	a := alice.call("sip:bob@"+KamailioDomain, newWebMedia(t, 500, "PCMU"))
	b := bob.accept()
	b.ring()
	a.await("180", func(m *message) bool { return m.status == 180 })
	b.answer(newWebMedia(t, 700))
	a.awaitAnswer()
	a.media.awaitTone(700)
	b.media.awaitTone(500)
	if got := a.reoffer("sendonly"); got != "recvonly" {
		t.Errorf("a hold is answered %s, want recvonly", got)
	}
	a.media.awaitSilence()
	if got := b.reoffer("sendrecv"); got != "sendrecv" {
		t.Errorf("resumed with %s, want sendrecv", got)
	}
	a.media.forget()
	a.media.awaitTone(700)
	b.hangUp()
	a.awaitRequest("BYE")

	a = alice.call("sip:bob@"+KamailioDomain, newWebMedia(t, 500))
	b = bob.accept()
	b.decline(486, "Busy Here")
	if r := a.awaitFinal(); r.status != 486 {
		t.Errorf("declined with %d, want 486", r.status)
	}

	a = alice.call("sip:bob@"+KamailioDomain, newWebMedia(t, 500))
	b = bob.accept()
	b.ring()
	a.await("180", func(m *message) bool { return m.status == 180 })
	a.cancel()
	b.awaitRequest("CANCEL")
}
