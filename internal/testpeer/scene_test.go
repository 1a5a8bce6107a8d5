//go:build integration

package testpeer

import (
	"fmt"
	"testing"
	"time"
)

// scene is one thing that happens between a browser and a SIPp: who calls is in the scenario's name
// ("uas-…" is called by the browser, "uac-…" reaches it by way of Kamailio).
type scene struct {
	scenario string
	o        SIPpOptions
	client   func(*phoneOptions)
	killed   bool // the SIPp does not live to the end of its scenario
	run      func(t *testing.T, p *phone, s *SIPp)
}

func (s *scene) ends(t *testing.T, peer *SIPp) {
	t.Helper()
	if !s.killed {
		peer.Succeeds(t, 60*time.Second)
	}
}

// inBothShapes doubles the scenes: JsSIP's messages, and those of sipML5 with the breaker.
func inBothShapes(scenes []scene) []scene {
	for _, s := range scenes {
		if s.client == nil {
			s.client = sipml5("yes", "")
			scenes = append(scenes, s)
		}
	}
	return scenes
}

// callee is whom a browser calls at a SIPp.
func (p *phone) callee() string { return "sip:test@" + p.o.domain }

// answering plays scenes at one gateway, all at once: each SIPp is the server of a domain of its own.
func answering(t *testing.T, scenes []scene, change ...func(*GatewayConfig)) *Gateway {
	t.Helper()
	config := NewGatewayConfig(t)
	config.PBX = 0
	servers := make([]*SIPp, len(scenes))
	domain := func(i int) string { return fmt.Sprintf("%s-%d.example", scenes[i].scenario, i) }
	for i, s := range scenes {
		servers[i] = StartSIPp(t, s.scenario, s.o)
		transport := "udp"
		if s.o.TCP {
			transport = "tcp"
		}
		config.Elements = append(config.Elements, fmt.Sprintf("<outbound-proxy>%s;sip:%s;transport=%s</outbound-proxy>", domain(i), servers[i].Addr(), transport))
	}
	for _, f := range change {
		f(&config)
	}
	g := StartGateway(t, config)
	t.Cleanup(func() { g.AwaitIdle(t, 20*time.Second) }) // after all scenes
	for i, s := range scenes {
		t.Run(s.scenario, func(t *testing.T) {
			t.Parallel()
			o := phoneOptions{url: g.URL(), user: "alice", password: "secret", domain: domain(i)}
			if s.client != nil {
				s.client(&o)
			}
			s.run(t, newPhone(t, o), servers[i])
			s.ends(t, servers[i])
		})
	}
	return g
}

// calling plays scenes at one gateway, all at once: each browser is registered at Kamailio, where its
// SIPp finds it.
func calling(t *testing.T, scenes []scene, change ...func(*GatewayConfig)) *Gateway {
	t.Helper()
	k := StartKamailio(t)
	config := NewGatewayConfig(t)
	config.PBX, config.OutboundProxy = 0, k.Addr()
	for _, f := range change {
		f(&config)
	}
	g := StartGateway(t, config)
	t.Cleanup(func() { g.AwaitIdle(t, 20*time.Second) })
	for i, s := range scenes {
		t.Run(s.scenario, func(t *testing.T) {
			t.Parallel()
			client := s.client
			if client == nil {
				client = func(*phoneOptions) {}
			}
			p := atKamailio(t, g, fmt.Sprintf("user%d", i), client)
			o := s.o
			o.Remote, o.User = k.Addr(), p.o.user
			uac := StartSIPp(t, s.scenario, o)
			s.run(t, p, uac)
			s.ends(t, uac)
		})
	}
	return g
}

// connected has a browser call and waits for the answer and for its own tone out of the echo.
func connected(t *testing.T, p *phone, extra ...header) *call {
	t.Helper()
	c := p.call(p.callee(), newWebMedia(t, 700), extra...)
	c.awaitAnswer()
	c.media.awaitTone(700)
	return c
}

// picked accepts a call and waits for its sound.
func picked(t *testing.T, p *phone) *call {
	t.Helper()
	c := p.accept()
	c.answer(newWebMedia(t, 700))
	c.media.awaitTone(700)
	return c
}

// awaitStray waits for a request outside of any dialog.
func (p *phone) awaitStray(method string) *message {
	p.t.Helper()
	var found *message
	Eventually(p.t, 20*time.Second, method+" for "+p.o.user, func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, m := range p.strays {
			if m.method == method {
				found = m
			}
		}
		return found != nil
	})
	return found
}

// with is one more header of a request.
func with(name, value string) header { return header{name, value} }
