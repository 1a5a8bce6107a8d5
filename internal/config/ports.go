package config

import "fmt"

// A socket is what an element other than transport binds.
type socket struct {
	Transport        // with the protocol of the same kind of socket
	element   string // name
}

// sockets are those of the elements other than transport, of calls' ports aside.
func (c *Config) sockets() []socket {
	all := []socket{{Transport{Protocol: "udp", Port: c.WebRTCPort}, "webrtc-port"}}
	if c.ICE.TCP {
		all = append(all, socket{Transport{Protocol: "tcp", Port: c.ICE.TCPPort}, "webrtc-tcp-port"})
	}
	if c.PBX != nil {
		at := c.PBX.Address
		all = append(all, socket{Transport{Protocol: "udp", Address: at.Addr(), Port: at.Port()}, "pbx"})
	}
	if c.Admin != nil {
		all = append(all, socket{Transport{Protocol: "http", Address: c.Admin.Address, Port: c.Admin.Port}, "admin"})
	}
	return all
}

// checkPorts looks for sockets that would take the same port. The transports were compared as they were read.
func (p *parser) checkPorts() error {
	c := p.config
	if c.WebRTCPort >= c.RTPPorts[0] && c.WebRTCPort <= c.RTPPorts[1] {
		at := p.last["webrtc-port"]
		if at == nil {
			at = p.last["rtp-port-range"]
		}
		return &Error{Line: at.line, Element: "webrtc-port", Err: fmt.Errorf("%d lies inside of <rtp-port-range> %d;%d",
			c.WebRTCPort, c.RTPPorts[0], c.RTPPorts[1])}
	}
	sockets := c.sockets()
	for i, s := range sockets {
		for _, t := range c.Transports {
			if s.overlaps(t) {
				return &Error{Line: t.Line, Element: "transport", Err: fmt.Errorf("port %d is that of <%s>", t.Port, s.element)}
			}
		}
		for _, other := range sockets[:i] {
			if s.overlaps(other.Transport) {
				return p.last[s.element].errorf("port %d is that of <%s>", s.Port, other.element)
			}
		}
	}
	p.warnPorts()
	return nil
}

// warnPorts warns of UDP ports that calls would take if they were free: they are passed over.
func (p *parser) warnPorts() {
	for _, t := range p.config.Transports {
		if t.datagram() && t.Port >= p.config.RTPPorts[0] && t.Port <= p.config.RTPPorts[1] {
			p.config.Warnings = append(p.config.Warnings, Warning{
				Line: t.Line, Element: "transport",
				Text: fmt.Sprintf("port %d lies inside of <rtp-port-range>, calls pass it over", t.Port),
			})
		}
	}
}
