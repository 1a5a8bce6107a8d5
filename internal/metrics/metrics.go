package metrics

import (
	"net/http"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// namespace begins every name of ours.
const namespace = "webrtc2sip"

// Metrics are the counters of one gateway. Methods may be called concurrently.
type Metrics struct {
	registry *prometheus.Registry

	requests, responses, refusals, bans  *prometheus.CounterVec
	calls, registrations, lookups, build *prometheus.CounterVec
	setup, talked, lookup, quality       prometheus.Histogram
	lost                                 prometheus.Counter

	reasons, offences, causes, outcomes words

	// ended are the packets and octets of calls that are over; see watched.
	ended struct{ packets, octets atomic.Uint64 }
}

// New makes a registry with everything at zero.
func New() *Metrics {
	m := &Metrics{
		registry:      prometheus.NewRegistry(),
		requests:      counters("requests_total", "SIP requests taken.", "method", "door", "transport"),
		responses:     counters("responses_total", "SIP responses given to requests taken.", "method", "class"),
		refusals:      counters("refusals_total", "Requests and connections refused by policy or limit.", "reason"),
		bans:          counters("bans_total", "Sources shut out.", "reason"),
		calls:         counters("calls_total", "Calls that ended, by cause.", "cause"),
		registrations: counters("registrations_total", "Final answers of registrars.", "result"),
		lookups:       counters("dns_lookups_total", "Look-ups of next hops.", "outcome"),
		build:         counters("build_info", "Always 1; the labels tell what runs.", "version", "goversion"),
		setup: histogram("call_setup_seconds", "INVITE to its 2xx; ringing is part of it.",
			.05, .1, .25, .5, 1, 2, 5, 10, 20, 30, 60, 120),
		talked: histogram("call_seconds", "2xx to the end of a call.", 1, 5, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200),
		lookup: histogram("dns_seconds", "Time of a look-up that went to the network.", .001, .005, .01, .05, .1, .5, 1, 2, 5),
		quality: histogram("media_mos", "Mean opinion score of sound received in calls that ended, by the E-model.",
			1.5, 2, 2.5, 3, 3.3, 3.6, 3.9, 4.1, 4.3, 4.5),
		lost: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: namespace, Name: "media_lost_total", Help: "RTP packets missed in calls that ended.",
		}),
	}
	m.registry.MustRegister(m.requests, m.responses, m.refusals, m.bans, m.calls, m.registrations, m.lookups,
		m.setup, m.talked, m.lookup, m.quality, m.lost, m.build,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func counters(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
}

func histogram(name, help string, buckets ...float64) prometheus.Histogram {
	return prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: buckets})
}

// Handler serves the figures in the formats of Prometheus and OpenMetrics. It
// answers 503 to more than four scrapes at once. What it shows is for the
// operator: put it behind a token or on loopback.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorHandling:       promhttp.ContinueOnError, // one broken source must not hide all others
		Registry:            m.registry,               // counts such errors
		MaxRequestsInFlight: 4,
	})
}

// Build tells which version runs. Call it once.
func (m *Metrics) Build(version string) {
	m.build.WithLabelValues(printable(version), runtime.Version()).Add(1)
}

// Request counts a SIP request: its method, the door it came by (sip, janus,
// sylk, jsep2sip, click2call) and its transport as in Via.
func (m *Metrics) Request(method, door, transport string) {
	m.requests.WithLabelValues(lookUp(methods, method), lookUp(doors, door), lookUp(transports, transport)).Inc()
}

// Response counts a response that was given to a request of that method, by
// the class of its status.
func (m *Metrics) Response(method string, status int) {
	m.responses.WithLabelValues(lookUp(methods, method), classOf(status)).Inc()
}

// Refused counts a request or connection that was turned away before it got
// anywhere. The reason is a word of the program (a limit, a rule), never of the
// peer.
func (m *Metrics) Refused(reason string) { m.refusals.WithLabelValues(m.reasons.of(reason)).Inc() }

// Banned counts a source that was shut out.
func (m *Metrics) Banned(reason string) { m.bans.WithLabelValues(m.offences.of(reason)).Inc() }

// CallUp counts the set-up time of a call that was answered: INVITE to 2xx.
func (m *Metrics) CallUp(setup time.Duration) { m.setup.Observe(setup.Seconds()) }

// CallEnded counts a call that is over, with its cause and the time since its
// 2xx; zero if it was never answered.
func (m *Metrics) CallEnded(cause string, talked time.Duration) {
	m.calls.WithLabelValues(m.causes.of(cause)).Inc()
	if talked > 0 {
		m.talked.Observe(talked.Seconds())
	}
}

// MediaEnded adds what a call that is over has carried, of both sides: RTP
// packets and octets received, and packets that were lost on the way to us. The
// figures of calls that stand come from Sources.Media.
func (m *Metrics) MediaEnded(packets, octets, lost uint64) {
	m.ended.packets.Add(packets)
	m.ended.octets.Add(octets)
	m.lost.Add(float64(lost))
}

// Sounded takes the mean opinion score of one side of a call that is over, as we
// have heard it; 0 is none.
func (m *Metrics) Sounded(mos float64) {
	if mos > 0 {
		m.quality.Observe(mos)
	}
}

// Registered counts the final answer of a registrar to a REGISTER; status 0 is
// no answer. The results are accepted, challenged, refused and failed.
func (m *Metrics) Registered(status int) { m.registrations.WithLabelValues(resultOf(status)).Inc() }

// LookedUp counts the look-up of a next hop. The time is that spent on the
// network, zero when the answer was at hand.
func (m *Metrics) LookedUp(outcome string, took time.Duration) {
	m.lookups.WithLabelValues(m.outcomes.of(outcome)).Inc()
	if took > 0 {
		m.lookup.Observe(took.Seconds())
	}
}
