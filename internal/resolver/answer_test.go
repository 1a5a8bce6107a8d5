package resolver

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// packed is a whole answer as it comes from the network.
func packed(t testing.TB, q question, rcode int, records ...string) []byte {
	t.Helper()
	m := new(dns.Msg).SetQuestion(q.name, q.kind)
	m.Response, m.Rcode = true, rcode
	for _, record := range records {
		rr, err := dns.NewRR(record)
		if err != nil {
			t.Fatal(err)
		}
		if rr.Header().Rrtype == dns.TypeSOA {
			m.Ns = append(m.Ns, rr)
		} else {
			m.Answer = append(m.Answer, rr)
		}
	}
	text, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// seedAnswers adds answers of each kind to a fuzz target.
func seedAnswers(f *testing.F) {
	host := question{"host.example.", dns.TypeA}
	f.Add(packed(f, host, dns.RcodeSuccess, "host.example. 60 IN A 192.0.2.1", "host.example. 60 IN AAAA 2001:db8::1"))
	f.Add(packed(f, host, dns.RcodeSuccess, "host.example. 60 IN CNAME a.example.", "a.example. 60 IN CNAME host.example."))
	f.Add(packed(f, host, dns.RcodeSuccess, "host.example. 60 IN CNAME elsewhere.example."))
	f.Add(packed(f, host, dns.RcodeNameError, "example. 60 IN SOA ns.example. root.example. 1 2 3 4 5"))
	f.Add(packed(f, question{"_sip._udp.host.example.", dns.TypeSRV}, dns.RcodeSuccess,
		"_sip._udp.host.example. 60 IN SRV 1 2 5060 host.example.", "_sip._udp.host.example. 60 IN SRV 1 0 0 .",
		"host.example. 60 IN A 192.0.2.1"))
	f.Add(packed(f, question{"host.example.", dns.TypeNAPTR}, dns.RcodeSuccess,
		`host.example. 60 IN NAPTR 1 1 "s" "SIP+D2U" "" _sip._udp.host.example.`, "_sip._udp.host.example. 60 IN SRV 1 2 5060 host.example.",
		`host.example. 60 IN A 0.0.0.0`, "host.example. 4294967295 IN AAAA ::1"))
}

// FuzzAnswer reads an answer as one to each type of question.
func FuzzAnswer(f *testing.F) {
	seedAnswers(f)
	f.Fuzz(func(t *testing.T, text []byte) {
		m := new(dns.Msg)
		if err := m.Unpack(text); err != nil {
			return
		}
		for _, kind := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeSRV, dns.TypeNAPTR} {
			for _, name := range []string{"host.example.", "_sip._udp.host.example."} {
				matches(m, new(dns.Msg).SetQuestion(name, kind))
				a, next := read(m, question{name, kind}, new(maxAliases), time.Now())
				checkAnswer(t, a, next)
			}
		}
	})
}

// FuzzLookup feeds one answer to every question of a look-up. Whatever it says,
// the look-up ends and keeps its limits.
func FuzzLookup(f *testing.F) {
	seedAnswers(f)
	f.Fuzz(func(t *testing.T, text []byte) {
		r := quiet(t, Config{})
		questions := 0
		r.exchange = func(context.Context, string, netip.AddrPort, *dns.Msg) (*dns.Msg, error) {
			questions++
			m := new(dns.Msg)
			return m, m.Unpack(text)
		}
		r.slots = make(chan struct{}, 1) // one question at a time, so that they can be counted
		targets, err := r.Resolve(t.Context(), Query{Host: "host.example"})
		if len(targets) == 0 == (err == nil) || len(targets) > maxTargets || questions > 2*tries*maxQuestions*(maxAliases+1) {
			t.Fatalf("got %d targets, %v, after %d questions", len(targets), err, questions)
		}
		for _, target := range targets {
			if a := target.Addr.Addr(); !a.IsValid() || a.IsUnspecified() || a.IsMulticast() || a.Is4In6() || target.Addr.Port() == 0 {
				t.Fatalf("got %v", target)
			}
		}
	})
}

// checkAnswer wants what read promises.
func checkAnswer(t *testing.T, a answer, next string) {
	t.Helper()
	kept := time.Until(a.expires)
	switch n := len(a.addrs) + len(a.srvs) + len(a.naptrs); {
	case n > maxRecords:
		t.Fatalf("got %d records", n)
	case next != "" && (a.err != nil || n > 0):
		t.Fatalf("got %+v and another name %q", a, next)
	case next == "" && (kept > maxTTL || kept < 0):
		t.Fatalf("kept for %v", kept)
	case a.err != nil && !errors.Is(a.err, ErrNotFound) && !errors.Is(a.err, ErrRefused):
		t.Fatal(a.err)
	}
}
