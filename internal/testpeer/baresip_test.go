//go:build integration

package testpeer

import (
	"strings"
	"testing"
	"time"
)

// TestIntegrationBaresip calls a telephone and is called by it, at Kamailio and at the demo PBX.
func TestIntegrationBaresip(t *testing.T) {
	t.Parallel()
	kamailio := func(t *testing.T) (*Gateway, *phone, BaresipOptions, string) {
		k := StartKamailio(t)
		g := behind(t, k.Addr())
		return g, atKamailio(t, g, "alice"), BaresipOptions{User: "phone", Registrar: k.Addr()}, KamailioDomain
	}
	pbx := func(t *testing.T) (*Gateway, *phone, BaresipOptions, string) {
		g := demo(t)
		p := g.user(t, "1000")
		p.register(600)
		return g, p, BaresipOptions{User: "1001", Password: GatewayPassword("1001"), Registrar: g.PBXAddr(), Domain: GatewayRealm}, GatewayRealm
	}
	for name, place := range map[string]func(*testing.T) (*Gateway, *phone, BaresipOptions, string){"kamailio": kamailio, "pbx": pbx} {
		for _, codec := range []string{"PCMU/8000/1", "opus/48000/2"} {
			t.Run(name+" "+strings.SplitN(codec, "/", 2)[0], func(t *testing.T) {
				t.Parallel()
				g, p, o, domain := place(t)
				o.Tone, o.Codecs = 500, codec
				phone := StartBaresip(t, o)
				web := "sip:" + p.o.user + "@" + domain

				c := p.call("sip:"+o.User+"@"+domain, newWebMedia(t, 700))
				c.awaitAnswer()
				talks(t, c, phone, codec)
				c.hangUp()
				phone.Await(t, "CALL_CLOSED", 10*time.Second)

				phone.Command(t, "dial", web)
				in := p.accept()
				in.ring()
				in.answer(newWebMedia(t, 800))
				talks(t, in, phone, codec)
				phone.Command(t, "hangup", "")
				in.awaitRequest("BYE")
				g.AwaitIdle(t, 10*time.Second)
			})
		}
	}
}

// talks checks that both hear each other. Opus is not decoded here: packets of that payload type
// must come, and baresip must take ours for what they are.
func talks(t *testing.T, c *call, phone *Baresip, codec string) {
	t.Helper()
	if strings.HasPrefix(codec, "opus") {
		Eventually(t, 20*time.Second, "Opus from baresip", func() bool {
			c.media.mu.Lock()
			pt := c.media.payload
			c.media.mu.Unlock()
			return pt != 0 && c.media.heard().payloads[pt] > 20
		})
		return
	}
	c.media.awaitTone(500)
	heardBy(t, phone, c.media.tone)
}
