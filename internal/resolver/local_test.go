package resolver

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestHosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := newZone(t, `
			pbx.example.	60 IN A 192.0.2.99
			_sip._udp.pbx.example.	60 IN SRV 1 1 5070 pbx.example.
			_sip._udp.corp.example.	60 IN SRV 1 1 5070 pbx.example.
		`)
		r := on(t, z, Config{})
		write := func(text string) {
			if err := os.WriteFile(r.hosts.path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write("# ours\n192.0.2.1 PBX.example pbx # both\n2001:db8::1 pbx.example\nbad line\nfe80::1%eth0 pbx\n")
		want(t, r, Query{Host: "pbx.example"}, "UDP [2001:db8::1]:5060", "UDP 192.0.2.1:5060")
		want(t, r, Query{Host: "pbx", Transport: "tcp", Port: 5070}, "TCP 192.0.2.1:5070")
		if _, ok := r.Cached(Query{Host: "pbx", Secure: true}); !ok {
			t.Error("a name of the hosts file needs the network")
		}
		if n := z.count(""); n != 0 {
			t.Errorf("got %d questions, want none", n)
		}
		want(t, r, Query{Host: "corp.example", Family: 4}, "UDP 192.0.2.1:5070") // hosts of SRV as well

		write("192.0.2.22 pbx.example\n")
		time.Sleep(fileCheck)
		want(t, r, Query{Host: "pbx.example"}, "UDP 192.0.2.22:5060")
		if err := os.Remove(r.hosts.path); err != nil {
			t.Fatal(err)
		}
		time.Sleep(fileCheck)
		want(t, r, Query{Host: "pbx.example", Family: 4}, "UDP 192.0.2.99:5070")
	})
}

func TestParseSystem(t *testing.T) {
	s := parseSystem([]byte("nameserver 192.0.2.53\nnameserver 2001:db8::53\nnameserver nonsense\nsearch Corp.example. lab.example\noptions ndots:2\n"))
	if len(s.servers) != 2 || s.servers[0] != server1 || s.servers[1].String() != "[2001:db8::53]:53" || s.dots != 2 ||
		!slices.Equal(s.search, []string{"corp.example", "lab.example"}) {
		t.Errorf("got %+v", s)
	}
	if s := parseSystem(nil); len(s.servers) != 1 || s.servers[0].String() != "127.0.0.1:53" {
		t.Errorf("without a file: got %+v", s)
	}
}

func TestSearch(t *testing.T) {
	r := quiet(t, Config{})
	r.system.path = filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(r.system.path, []byte("search corp.example lab.example\noptions ndots:2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string][]string{
		"pbx":         {"pbx.corp.example", "pbx.lab.example", "pbx"},
		"pbx.site":    {"pbx.site", "pbx.site.corp.example", "pbx.site.lab.example"},
		"pbx.site.de": {"pbx.site.de"},
	} {
		if got := r.names(host, time.Now()); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", host, got, want)
		}
	}
	z := newZone(t, "_sip._udp.pbx.lab.example. 60 IN SRV 1 1 5070 h.example.\nh.example. 60 IN A 192.0.2.1")
	r.exchange = z.exchange
	want(t, r, Query{Host: "pbx"}, "UDP 192.0.2.1:5070")
}
