package metrics

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// scrape gives our series, name and labels → value, as Prometheus reads them.
func scrape(t testing.TB, m *Metrics) map[string]string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("got %d: %s", w.Code, w.Body)
	}
	series := make(map[string]string)
	for line := range strings.Lines(w.Body.String()) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		i := strings.LastIndexByte(line, ' ')
		series[strings.TrimPrefix(line[:i], "webrtc2sip_")] = strings.TrimSpace(line[i:])
	}
	return series
}

func expect(t *testing.T, got map[string]string, want map[string]string) {
	t.Helper()
	for name, value := range want {
		if got[name] != value {
			t.Errorf("%s: got %q, want %q", name, got[name], value)
		}
	}
}

func TestEvents(t *testing.T) {
	m := New()
	m.Build("v1.2.3")
	m.Request("INVITE", "sip", "WSS")
	m.Request("INVITE", "sip", "wss")
	m.Request("invite", "back", "pigeon")
	m.Response("INVITE", 183)
	m.Response("INVITE", 200)
	m.Response("FOO", 99)
	m.Response("BYE", 700)
	m.Refused("calls-per-source")
	m.Banned("scanner")
	m.CallUp(1500 * time.Millisecond)
	m.CallEnded("hang-up", time.Minute)
	m.CallEnded("busy", 0)
	for _, status := range []int{200, 401, 403, 408, 503, 0} {
		m.Registered(status)
	}
	m.LookedUp("found", 3*time.Millisecond)
	m.LookedUp("cached", 0)
	got := scrape(t, m)
	expect(t, got, map[string]string{
		`requests_total{door="sip",method="INVITE",transport="wss"}`:    "2",
		`requests_total{door="other",method="other",transport="other"}`: "1",
		`responses_total{class="1xx",method="INVITE"}`:                  "1",
		`responses_total{class="2xx",method="INVITE"}`:                  "1",
		`responses_total{class="other",method="other"}`:                 "1",
		`responses_total{class="other",method="BYE"}`:                   "1",
		`refusals_total{reason="calls-per-source"}`:                     "1",
		`bans_total{reason="scanner"}`:                                  "1",
		`call_setup_seconds_bucket{le="1"}`:                             "0",
		`call_setup_seconds_bucket{le="2"}`:                             "1",
		`call_seconds_sum`:                                              "60",
		`call_seconds_count`:                                            "1",
		`calls_total{cause="hang-up"}`:                                  "1",
		`calls_total{cause="busy"}`:                                     "1",
		`registrations_total{result="accepted"}`:                        "1",
		`registrations_total{result="challenged"}`:                      "1",
		`registrations_total{result="refused"}`:                         "1",
		`registrations_total{result="failed"}`:                          "3",
		`dns_lookups_total{outcome="cached"}`:                           "1",
		`dns_seconds_count`:                                             "1",
	})
	for _, prefix := range []string{`build_info{goversion="go`, "go_goroutines", "process_"} {
		found := false
		for name := range got {
			found = found || strings.HasPrefix(name, prefix)
		}
		if !found {
			t.Errorf("no series begins with %s", prefix)
		}
	}
}

func TestSources(t *testing.T) {
	m := New()
	m.Watch(Sources{
		Calls:         func() int { return 3 },
		Registrations: func() int { return 4 },
		Transactions:  func() int { return 5 },
		Bans:          func() int { return 6 },
		Overloaded:    func() bool { return true },
		Flows:         func() map[string]int { return map[string]int{"WSS": 2, "TCP": 1, "pigeon": 1, "smoke": 1} },
		Targets: func() []Target {
			return []Target{{"UDP 192.0.2.1:5060", true}, {"UDP 192.0.2.2:5060", false}, {"UDP 192.0.2.1:5060", false}, {"UDP 192.0.2.2:5060", true}}
		},
		Trunks: func() []Trunk { return []Trunk{{"t1", true}, {"bad \xff name", false}} },
		Media:  func() Media { return Media{Ports: 7, Packets: 8, Octets: 9, Strangers: 10} },
		Trace:  func() (uint64, uint64) { return 11, 12 },
		Recordings: func() Recordings {
			return Recordings{Active: 13, Started: 14, Dropped: 15, Failures: 16, Octets: 17}
		},
		SIPREC: func() SIPREC { return SIPREC{Active: 18, Started: 19, Failures: 20, Packets: 21, Dropped: 22} },
	})
	m.MediaEnded(100, 1000, 2)
	m.Sounded(0) // video
	m.Sounded(4.2)
	expect(t, scrape(t, m), map[string]string{
		"calls": "3", "registrations": "4", "transactions": "5", "bans": "6", "overloaded": "1",
		`flows{transport="wss"}`: "2", `flows{transport="tcp"}`: "1", `flows{transport="other"}`: "2",
		`targets{state="alive"}`: "2", `targets{state="dead"}`: "2",
		`target_up{target="UDP 192.0.2.1:5060"}`: "0", `target_up{target="UDP 192.0.2.2:5060"}`: "0",
		`trunk_registered{trunk="t1"}`: "1", `trunk_registered{trunk="bad  name"}`: "0",
		"media_ports": "7", "media_packets_total": "108", "media_octets_total": "1009", "media_strangers_total": "10", "media_lost_total": "2",
		"media_mos_count": "1", "media_mos_sum": "4.2", `media_mos_bucket{le="4.1"}`: "0", `media_mos_bucket{le="4.3"}`: "1",
		"recordings": "13", "recordings_total": "14", "recording_dropped_total": "15", "recording_failures_total": "16", "recording_octets_total": "17",
		"siprec_sessions": "18", "siprec_sessions_total": "19", "siprec_failures_total": "20", "siprec_packets_total": "21", "siprec_dropped_total": "22",
		"trace_sent_total": "11", "trace_dropped_total": "12",
	})
}

func TestNoSources(t *testing.T) {
	m := New()
	m.Watch(Sources{})
	if got, found := scrape(t, m)["calls"]; found {
		t.Errorf("got %s calls from nobody", got)
	}
}

// A source that panics costs its own figures, not the scrape.
func TestSourcePanics(t *testing.T) {
	m := New()
	m.Watch(Sources{Calls: func() int { panic("oh") }})
	m.Refused("limit")
	expect(t, scrape(t, m), map[string]string{`refusals_total{reason="limit"}`: "1"})
}

// The packets of a call leave the source before MediaEnded has them.
func TestPacketsNeverStepBack(t *testing.T) {
	m := New()
	live := uint64(500)
	m.Watch(Sources{Media: func() Media { return Media{Packets: live} }})
	for _, step := range []struct {
		live, ended uint64
		want        string
	}{{500, 0, "500"}, {0, 0, "500"}, {0, 500, "500"}, {20, 0, "520"}} {
		live = step.live
		m.MediaEnded(step.ended, 0, 0)
		expect(t, scrape(t, m), map[string]string{"media_packets_total": step.want})
	}
}

// What peers and programmers choose must not become series without end.
func TestLabelsAreBounded(t *testing.T) {
	m := New()
	var targets []Target
	for i := range 5000 {
		s := fmt.Sprintf("value-%d\xff", i)
		m.Request(s, s, s)
		m.Response(s, i-2500)
		m.Refused(s)
		m.Banned(s)
		m.CallEnded(s, 0)
		m.LookedUp(s, 0)
		targets = append(targets, Target{Name: s})
	}
	m.Refused(strings.Repeat("x", 100_000))
	m.Refused("")
	m.Watch(Sources{Targets: func() []Target { return targets }})
	got := scrape(t, m)
	if len(got) > 800 {
		t.Errorf("got %d series", len(got))
	}
	expect(t, got, map[string]string{
		`requests_total{door="other",method="other",transport="other"}`: "5000",
		`refusals_total{reason="value-0"}`:                              "1",
		`refusals_total{reason="other"}`:                                "4938",
		`targets{state="dead"}`:                                         "5000",
	})
}

func TestConcurrently(t *testing.T) {
	m := New()
	m.Watch(Sources{Media: func() Media { return Media{} }})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 100 {
				m.Refused(fmt.Sprint("r", i*j))
				m.Request("INVITE", "sip", "UDP")
				m.MediaEnded(1, 1, 1)
			}
		})
	}
	for range 10 {
		scrape(t, m)
	}
	wg.Wait()
	expect(t, scrape(t, m), map[string]string{
		`requests_total{door="sip",method="INVITE",transport="udp"}`: "800",
		"media_packets_total": "800",
	})
}

func BenchmarkRequest(b *testing.B) {
	m := New()
	b.ReportAllocs()
	for b.Loop() {
		m.Request("INVITE", "sip", "WSS")
	}
}

func BenchmarkRefused(b *testing.B) {
	m := New()
	b.ReportAllocs()
	for b.Loop() {
		m.Refused("calls-per-source")
	}
}
