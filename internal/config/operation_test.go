package config

import (
	"reflect"
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
		{"<media-timeout>10</media-timeout>", func(c *Config) { c.MediaTimeout = 10 * time.Second }},
		{"<media-timeout>0</media-timeout>", func(c *Config) { c.MediaTimeout = 0 }},
		{"<redirect>Follow</redirect>", func(c *Config) { c.FollowRedirects = true }},
		{"<redirect>pass</redirect>", func(*Config) {}},
		{"<drain-time>30</drain-time>", func(c *Config) { c.DrainTime = 30 * time.Second }},
		{"<drain-time>0</drain-time>", func(*Config) {}},
	}.run(t)
}

func TestRecord(t *testing.T) {
	const folder = "<record-folder>/var/spool/calls/</record-folder>"
	record := func(r Record) func(c *Config) {
		r.Folder = "/var/spool/calls"
		return func(c *Config) { c.Record = &r }
	}
	right{
		{folder, record(Record{})},
		{folder + "<record>all</record>", record(Record{Rules: []RecordRule{{All: true}}})},
		{folder + "<record>user;Alice</record><record>user; sip:bob@Example.org</record>", record(Record{Rules: []RecordRule{{User: "alice"}, {User: "bob", Domain: "example.org"}}})},
		{folder + "<record>request</record><record-media>audio</record-media>", record(Record{OnRequest: true, AudioOnly: true})},
		{folder + "<record-retention>90</record-retention><record-max-size>5000</record-max-size>", record(Record{Retention: 90 * day, MaxSize: 5e9})},
		{folder + "<siprec>sips:srs.example</siprec>", record(Record{Servers: []RecordServer{{Hop: Hop{Host: "srs.example", Transport: "tls", URI: "sips:srs.example"}}}})},
		{folder + "<record-retention>0</record-retention><record-max-size>0</record-max-size><record-media>all</record-media>", record(Record{})},
	}.run(t)
}

// TestRecordServers has calls recorded at servers and in no files.
func TestRecordServers(t *testing.T) {
	c, err := parse(`<siprec>sip:recorder@srs.example:5070;transport=tcp</siprec><siprec>sip:192.0.2.9</siprec>
		<siprec-account>src;secret;word</siprec-account><record>all</record><record-media>audio</record-media>`)
	if err != nil {
		t.Fatal(err)
	}
	want := &Record{
		Servers: []RecordServer{
			{Hop: Hop{Host: "srs.example", Port: 5070, Transport: "tcp", URI: "sip:recorder@srs.example:5070;transport=tcp"}, User: "recorder"},
			{Hop: Hop{Host: "192.0.2.9", URI: "sip:192.0.2.9"}},
		},
		ServerUser: "src", ServerPassword: "secret;word", Rules: []RecordRule{{All: true}}, AudioOnly: true,
	}
	if !reflect.DeepEqual(c.Record, want) {
		t.Errorf("got %+v, want %+v", c.Record, want)
	}
}

func TestWrongRecord(t *testing.T) {
	const folder = "<record-folder>/var/spool/calls</record-folder>"
	wrong{
		{"<siprec-account>a;b</siprec-account>", "there is no <siprec>"},
		{"<siprec>srs.example</siprec>", "no SIP URI"},
		{"<siprec>sip:a b@srs.example</siprec>", "no user name"},
		{"<siprec>sip:srs.example</siprec><siprec-account>a</siprec-account>", "no user with a password"},
		{"<siprec>sip:srs.example</siprec><record-retention>5</record-retention>", "there is no <record-folder>"},
		{"<record-folder>calls</record-folder>", "no absolute path"},
		{"<record>all</record>", "there is no <record-folder>"},
		{"<record-retention>5</record-retention>", "there is no <record-folder>"},
		{folder + "<record>some</record>", "no such rule; allowed: all, user;name[@domain], trunk;name or request"},
		{folder + "<record>all;a</record>", "no such rule"},
		{folder + "<record>user;</record>", "no such rule"},
		{folder + "<record>user;@example.org</record>", "no user"},
		{folder + "<record>trunk;nobody</record>", "there is no <trunk> of the name nobody"},
		{folder + "<record>all</record><breaker>never</breaker>", "no media comes here"},
		{folder + "<record-media>video</record-media>", "neither audio nor all"},
		{folder + "<record-retention>-1</record-retention>", "no such number of days"},
		{folder + "<record-max-size>9999999999</record-max-size>", "no such number of megabytes"},
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
		{"<media-timeout>9</media-timeout>", "no such number of seconds"},
		{"<redirect>yes</redirect>", "neither follow nor pass; allowed: pass or follow"},
		{"<drain-time>86401</drain-time>", "no such number of seconds"},
	}.run(t)
}
