package config

import (
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestICE(t *testing.T) {
	turn := ICEServer{Scheme: "turn", Host: "turn.example.org", Port: 3478, Transport: "udp"}
	turns := ICEServer{Scheme: "turns", Host: "2001:db8::3", Port: 5349, Transport: "tcp"}
	right{
		{"<public-address>203.0.113.7</public-address>", func(c *Config) {
			c.PublicAddress, c.PublicAddresses = addr("203.0.113.7"), []netip.Addr{addr("203.0.113.7")}
		}},
		{"<public-address>::ffff:203.0.113.7; 2001:db8::7</public-address>", func(c *Config) {
			c.PublicAddress, c.PublicAddresses = addr("203.0.113.7"), []netip.Addr{addr("203.0.113.7"), addr("2001:db8::7")}
		}},
		{"<webrtc-tcp-port>off</webrtc-tcp-port>", func(*Config) {}},
		{"<webrtc-tcp-port>10066</webrtc-tcp-port>", func(c *Config) { c.ICE.TCP, c.ICE.TCPPort = true, 10066 }},
		{"<webrtc-tcp-port>*</webrtc-tcp-port>", func(c *Config) { c.ICE.TCP = true }},
		{"<stun-server>STUN.example.org</stun-server>", func(c *Config) { c.ICE.STUN = "stun.example.org:3478" }},
		{"<stun-server>2001:db8::1;19302;*;*</stun-server>", func(c *Config) { c.ICE.STUN = "[2001:db8::1]:19302" }},
		{"<stun-server>*</stun-server>", func(*Config) {}},
		{"<stun-server>192.0.2.1;3478</stun-server><enable-icestun>no</enable-icestun>", func(*Config) {}},
		{"<turn-server>turn:turn.example.org; me; p</turn-server>", func(c *Config) {
			c.ICE.TURN = []TURNServer{{ICEServer: turn, User: "me", Password: "p"}}
		}},
		{"<turn-secret>north-pole;3600</turn-secret><turn-server>turn:turn.example.org:3478?transport=udp</turn-server><ice-server>turns:[2001:db8::3]</ice-server>", func(c *Config) {
			c.ICE = ICE{TURN: []TURNServer{{ICEServer: turn}}, PageServers: []ICEServer{turns}, TURNSecret: "north-pole", TURNLifetime: time.Hour}
		}},
		{"<turn-secret>north-pole</turn-secret>", func(c *Config) { c.ICE.TURNSecret, c.ICE.TURNLifetime = "north-pole", 12*time.Hour }},
		{"<ice-server>stun:192.0.2.1:3479</ice-server>", func(c *Config) {
			c.ICE.PageServers = []ICEServer{{Scheme: "stun", Host: "192.0.2.1", Port: 3479, Transport: "udp"}}
		}},
	}.run(t)
	wrong{
		{"<public-address>gw.example.org</public-address>", "no IP address"},
		{"<public-address>203.0.113.7;0.0.0.0</public-address>", "nobody can send to this address"},
		{"<webrtc-tcp-port>0</webrtc-tcp-port>", "no port number; allowed: a port 1 to 65535, * for any free one, or off"},
		{"<webrtc-tcp-port>5060</webrtc-tcp-port><transport>ws;*;5060</transport>", "port 5060 is that of <webrtc-tcp-port>"},
		{"<stun-server>a b</stun-server>", "no host name"},
		{"<stun-server>a;0</stun-server>", "no port number"},
		{"<stun-server>a;1;b;secret;d</stun-server>", "has 5 parts"},
		{"<enable-icestun>maybe</enable-icestun>", "neither yes nor no"},
		{"<turn-server>stun:a;b;secret</turn-server>", "no URI of a TURN server"},
		{"<turn-server>http://a;b;secret</turn-server>", "no URI of a STUN or TURN server"},
		{"<turn-server>turn:a;b</turn-server>", "has 2 parts"},
		{"<turn-server>turn:a;;secret</turn-server>", "user or password is empty"},
		{"<turn-server>turn:a?transport=sctp;b;secret</turn-server>", "transport is udp or tcp"},
		{"<turn-server>turns:a?transport=udp;b;secret</turn-server>", "tcp over TLS"},
		{"<turn-server>turn:a:0;b;secret</turn-server>", "no port number"},
		{"<ice-server>stun:a?transport=udp</ice-server>", "of TURN alone"},
		{"<ice-server>a</ice-server>", "no URI"},
	}.run(t)
	for elements, want := range map[string]string{ // the element's own name is no password
		"<turn-server>turn:a</turn-server>":        "test.xml:2: <turn-server>: needs user and password, or a <turn-secret>",
		"<ice-server>turn:a</ice-server>":          "test.xml:2: <ice-server>: a TURN server for pages needs a <turn-secret>",
		"<turn-secret>short</turn-secret>":         "<turn-secret>: its value: too short",
		"<turn-secret>long-enough;5</turn-secret>": "<turn-secret>: its value: no such number of seconds",
	} {
		if _, err := parse(elements); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", elements, err, want)
		}
	}
	warned{
		{"<stun-server>a;3478;me;pass</stun-server>", "2 stun-server user and password have no effect: STUN needs none, and relays are those of <turn-server>"},
	}.run(t)
}

func TestICEServer(t *testing.T) {
	for text, want := range map[string]string{
		"turn:a.example":               "turn:a.example:3478?transport=udp",
		"TURNS:a.example":              "turns:a.example:5349?transport=tcp",
		"turn:[2001:db8::1]:443":       "turn:[2001:db8::1]:443?transport=udp",
		"turn:a.example?transport=tcp": "turn:a.example:3478?transport=tcp",
		"stuns:a.example":              "stuns:a.example:5349",
	} {
		s, err := iceServer(text)
		if err != nil || s.String() != want || s.Relays() != strings.HasPrefix(want, "turn") {
			t.Errorf("%s: got %s, %v; want %s", text, s, err, want)
		}
	}
}

func TestICESecretsStayOut(t *testing.T) {
	c, err := parse("<turn-server>turn:a;me;secret-1</turn-server><turn-secret>secret-2</turn-secret>")
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	slog.New(slog.NewJSONHandler(&b, nil)).Info("x", "ice", c.ICE)
	fmt.Fprintf(&b, "%v %+v %#v", c.ICE, c.ICE, c.ICE)
	if strings.Contains(b.String(), "secret-") {
		t.Errorf("a secret is shown: %s", &b)
	}
}
