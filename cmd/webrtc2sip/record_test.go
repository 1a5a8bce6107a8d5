package main

import (
	"testing"

	"webrtc2sip/internal/config"
	"webrtc2sip/proxy"
)

func TestRecordRules(t *testing.T) {
	call := proxy.CallInfo{
		Caller: proxy.Party{URI: "sip:Alice@Example.org:5060;transport=udp"},
		Callee: proxy.Party{URI: "sip:+4930123;phone-context=x@192.0.2.1"},
		Trunk:  "Provider",
	}
	for _, row := range []struct {
		name  string
		rules []config.RecordRule
		want  string
	}{
		{"none", nil, ""},
		{"all", []config.RecordRule{{All: true}}, "all"},
		{"trunk", []config.RecordRule{{Trunk: "provider"}}, "trunk provider"},
		{"another trunk", []config.RecordRule{{Trunk: "other"}}, ""},
		{"caller", []config.RecordRule{{User: "alice"}}, "user alice"},
		{"caller with domain", []config.RecordRule{{User: "alice", Domain: "example.org"}}, "user alice@example.org"},
		{"of another domain", []config.RecordRule{{User: "alice", Domain: "example.net"}}, ""},
		{"callee", []config.RecordRule{{User: "bob"}, {User: "+4930123", Domain: "192.0.2.1"}}, "user +4930123@192.0.2.1"},
		{"part of a name", []config.RecordRule{{User: "ali"}}, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := &recordings{rules: config.Record{Rules: row.rules}}
			if got := r.rule(call); got != row.want || r.Wants(call) != (row.want != "") {
				t.Errorf("got %q, want %q", got, row.want)
			}
		})
	}
	direct := proxy.CallInfo{Caller: proxy.Party{URI: "sip:a@example.org"}}
	if (&recordings{rules: config.Record{Rules: []config.RecordRule{{Trunk: "provider"}}}}).Wants(direct) {
		t.Error("a call without a trunk is recorded by the rule of one")
	}
}
