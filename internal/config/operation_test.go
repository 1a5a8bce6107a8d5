package config

import (
	"testing"
	"time"
)

func TestOperation(t *testing.T) {
	right{
		{"<hep>192.0.2.9;9060;udp;2001</hep>", func(c *Config) { c.HEP = &HEP{Host: "192.0.2.9", Port: 9060, Transport: "udp", CaptureID: 2001} }},
		{"<hep>Homer.example.org ; 9061 ; TCP ; 0 ; a;b</hep>", func(c *Config) {
			c.HEP = &HEP{Host: "homer.example.org", Port: 9061, Transport: "tcp", AuthKey: "a;b"}
		}},
		{"<admin>127.0.0.1;8080</admin>", func(c *Config) { c.Admin = &Admin{Address: addr("127.0.0.1"), Port: 8080, Line: 2} }},
		{"<admin>[::1];*</admin>", func(c *Config) { c.Admin = &Admin{Address: addr("::1"), Line: 2} }},
		{"<admin>*;8080;0123456789;abcdef</admin>", func(c *Config) { c.Admin = &Admin{Port: 8080, Token: "0123456789;abcdef", Line: 2} }},
		{"<call-max-duration>3600</call-max-duration>", func(c *Config) { c.CallMaxDuration = time.Hour }},
		{"<call-max-duration>0</call-max-duration>", func(c *Config) { c.CallMaxDuration = 0 }},
		{"<session-idle>60</session-idle>", func(c *Config) { c.SessionIdle = time.Minute }},
		{"<session-idle>0</session-idle>", func(c *Config) { c.SessionIdle = 0 }},
		{"<redirect>Follow</redirect>", func(c *Config) { c.FollowRedirects = true }},
		{"<redirect>pass</redirect>", func(*Config) {}},
		{"<drain-time>30</drain-time>", func(c *Config) { c.DrainTime = 30 * time.Second }},
		{"<drain-time>0</drain-time>", func(*Config) {}},
	}.run(t)
}

func TestWrongOperation(t *testing.T) {
	wrong{
		{"<hep>192.0.2.9;9060;udp</hep>", "has 3 parts instead of 4 or 5; allowed: host;port;udp or tcp;capture-id[;auth-key]"},
		{"<hep>a b;9060;udp;1;secret</hep>", "its value: no host name"},
		{"<hep>a;*;udp;1</hep>", "no port number"},
		{"<hep>a;0;udp;1</hep>", "no port number"},
		{"<hep>a;9060;tls;1</hep>", "no such transport"},
		{"<hep>a;9060;udp;-1</hep>", "no capture-id"},
		{"<hep>a;9060;udp;4294967296</hep>", "no capture-id"},
		{"<admin>127.0.0.1</admin>", "has 1 parts instead of 2 or 3"},
		{"<admin>localhost;8080</admin>", "no IP address"},
		{"<admin>127.0.0.1;0</admin>", "no port number"},
		{"<admin>192.0.2.1;8080</admin>", "<admin>: its value: other machines can reach this address, so that a token is needed; allowed: address;port[;token]"},
		{"<admin>*;8080</admin>", "a token is needed"},
		{"<admin>::;8080</admin>", "a token is needed"},
		{"<admin>*;8080;</admin>", "the token is shorter"},
		{"<admin>*;8080;secret</admin>", "the token is shorter"},
		{"<admin>127.0.0.1;8080;secret</admin>", "the token is shorter"},
		{"<admin>*;8080;secret secret secret</admin>", "has other characters"},
		{"<call-max-duration>59</call-max-duration>", "no such number of seconds; allowed: seconds, 60 to 604800, or 0 for no end"},
		{"<call-max-duration></call-max-duration>", "no such number of seconds"},
		{"<session-idle>1.5</session-idle>", "no such number of seconds"},
		{"<redirect>yes</redirect>", "neither follow nor pass; allowed: pass or follow"},
		{"<drain-time>86401</drain-time>", "no such number of seconds"},
	}.run(t)
}
