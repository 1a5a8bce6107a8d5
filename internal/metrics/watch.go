package metrics

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// Sources are asked at each scrape for what others keep. They are called from
// several goroutines and must not wait for the network. A nil one is left out.
type Sources struct {
	Calls         func() int // that stand, ringing ones too
	Registrations func() int // bindings of clients
	Transactions  func() int // server transactions without a final response
	Bans          func() int
	Overloaded    func() bool           // new calls are refused for load
	Flows         func() map[string]int // connections by transport as in Via
	Targets       func() []Target
	Trunks        func() []Trunk
	Media         func() Media
	Recordings    func() Recordings
	SIPREC        func() SIPREC
	Trace         func() (sent, dropped uint64) // packets for the collector of traces, since the start
}

// Target is a next hop and whether it is taken to work.
type Target struct {
	Name  string // transport, address and port
	Alive bool
}

// Trunk is a SIP account of the gateway.
type Trunk struct {
	Name       string
	Registered bool
}

// Media are the figures of the media that runs.
type Media struct {
	Ports           int    // pairs of RTP ports in use
	Packets, Octets uint64 // received in the calls that stand now; those of calls that are over come by MediaEnded
	Strangers       uint64 // datagrams that belonged to no call, since the start
}

// Recordings are the figures of recorded calls, since the start but for Active.
type Recordings struct {
	Active   int
	Started  uint64
	Dropped  uint64 // packets that were not written
	Failures uint64 // how often writing had to stop
	Octets   uint64 // of complete files
}

// SIPREC are the figures of calls that are recorded at a server, since the start but for Active.
type SIPREC struct {
	Active   int
	Started  uint64
	Failures uint64 // sessions that no server has recorded, or not to their end
	Packets  uint64 // sent to servers
	Dropped  uint64 // packets that found a full queue, or could not be sent
}

// Watch adds what is shown at each scrape beside the counters. Call it once,
// before the first scrape; a second call panics.
func (m *Metrics) Watch(s Sources) {
	m.registry.MustRegister(&watched{sources: s, m: m})
}

// watched asks the sources.
type watched struct {
	sources Sources
	m       *Metrics

	mu              sync.Mutex
	packets, octets uint64 // the most that was shown; see media
}

var (
	descCalls         = desc("calls", "Calls that stand.")
	descRegistrations = desc("registrations", "Bindings of clients.")
	descTransactions  = desc("transactions", "Server transactions without a final response.")
	descBans          = desc("bans", "Sources that are shut out.")
	descOverloaded    = desc("overloaded", "1 while new calls are refused for load.")
	descFlows         = desc("flows", "Connections.", "transport")
	descTargets       = desc("targets", "Next hops.", "state")
	descTarget        = desc("target_up", "1 if the next hop is taken to work.", "target")
	descTrunk         = desc("trunk_registered", "1 while the gateway is registered at the trunk.", "trunk")
	descPorts         = desc("media_ports", "Pairs of RTP ports in use.")
	descPackets       = desc("media_packets_total", "RTP packets received.")
	descOctets        = desc("media_octets_total", "Octets of RTP payload received.")
	descStrangers     = desc("media_strangers_total", "Datagrams on media ports that belonged to no call.")
	descRecording     = desc("recordings", "Calls that are recorded.")
	descRecorded      = desc("recordings_total", "Recordings that were begun.")
	descRecordDropped = desc("recording_dropped_total", "Packets that were not recorded: a slow or full disk.")
	descRecordFailed  = desc("recording_failures_total", "How often recordings had to stop writing: a full or failing disk.")
	descSIPREC        = desc("siprec_sessions", "Calls that are recorded at a server.")
	descSIPRECStarted = desc("siprec_sessions_total", "Sessions with recording servers that were begun.")
	descSIPRECFailed  = desc("siprec_failures_total", "Sessions that no server has recorded, or not to their end.")
	descSIPRECPackets = desc("siprec_packets_total", "Packets sent to recording servers.")
	descSIPRECDropped = desc("siprec_dropped_total", "Packets that were to go to a recording server and did not.")
	descRecordOctets  = desc("recording_octets_total", "Octets of complete files.")
	descTraceSent     = desc("trace_sent_total", "Packets sent to the collector of traces.")
	descTraceDropped  = desc("trace_dropped_total", "Packets that the collector of traces missed.")
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, labels, nil)
}

// Describe is of prometheus.Collector.
func (w *watched) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descCalls, descRegistrations, descTransactions, descBans, descOverloaded, descFlows, descTargets, descTarget,
		descTrunk, descPorts, descPackets, descOctets, descStrangers, descTraceSent, descTraceDropped,
		descRecording, descRecorded, descRecordDropped, descRecordFailed, descRecordOctets,
		descSIPREC, descSIPRECStarted, descSIPRECFailed, descSIPRECPackets, descSIPRECDropped,
	} {
		out <- d
	}
}

// Collect is of prometheus.Collector.
func (w *watched) Collect(out chan<- prometheus.Metric) {
	s := &w.sources
	for _, g := range []struct {
		desc *prometheus.Desc
		of   func() int
	}{{descCalls, s.Calls}, {descRegistrations, s.Registrations}, {descTransactions, s.Transactions}, {descBans, s.Bans}} {
		if g.of != nil {
			out <- gauge(g.desc, float64(g.of()))
		}
	}
	if s.Overloaded != nil {
		out <- gauge(descOverloaded, bit(s.Overloaded()))
	}
	if s.Flows != nil {
		collectFlows(out, s.Flows())
	}
	if s.Targets != nil {
		collectTargets(out, s.Targets())
	}
	if s.Trunks != nil {
		collectTrunks(out, s.Trunks())
	}
	if s.Media != nil {
		w.collectMedia(out, s.Media())
	}
	if s.Recordings != nil {
		collectRecordings(out, s.Recordings())
	}
	if s.SIPREC != nil {
		r := s.SIPREC()
		out <- gauge(descSIPREC, float64(r.Active))
		out <- counter(descSIPRECStarted, float64(r.Started))
		out <- counter(descSIPRECFailed, float64(r.Failures))
		out <- counter(descSIPRECPackets, float64(r.Packets))
		out <- counter(descSIPRECDropped, float64(r.Dropped))
	}
	if s.Trace != nil {
		sent, dropped := s.Trace()
		out <- counter(descTraceSent, float64(sent))
		out <- counter(descTraceDropped, float64(dropped))
	}
}

func collectRecordings(out chan<- prometheus.Metric, r Recordings) {
	out <- gauge(descRecording, float64(r.Active))
	out <- counter(descRecorded, float64(r.Started))
	out <- counter(descRecordDropped, float64(r.Dropped))
	out <- counter(descRecordFailed, float64(r.Failures))
	out <- counter(descRecordOctets, float64(r.Octets))
}

func collectFlows(out chan<- prometheus.Metric, flows map[string]int) {
	sums := make(map[string]int)
	for t, n := range flows {
		sums[lookUp(transports, t)] += n
	}
	for t, n := range sums {
		out <- gauge(descFlows, float64(n), t)
	}
}

func collectTargets(out chan<- prometheus.Metric, targets []Target) {
	up := make(map[string]bool)
	dead := 0
	for _, t := range targets {
		if !t.Alive {
			dead++
		}
		note(up, t.Name, t.Alive)
	}
	out <- gauge(descTargets, float64(len(targets)-dead), "alive")
	out <- gauge(descTargets, float64(dead), "dead")
	for name, alive := range up {
		out <- gauge(descTarget, bit(alive), name)
	}
}

func collectTrunks(out chan<- prometheus.Metric, trunks []Trunk) {
	up := make(map[string]bool)
	for _, t := range trunks {
		note(up, t.Name, t.Registered)
	}
	for name, registered := range up {
		out <- gauge(descTrunk, bit(registered), name)
	}
}

// note keeps one series for each name, since the registry refuses a scrape
// with two of the same labels. Of two that are cut to the same name, the worse
// one shows.
func note(up map[string]bool, name string, is bool) {
	name = printable(name)
	was, known := up[name]
	if known || len(up) < maxNamed {
		up[name] = is && (was || !known)
	}
}

// collectMedia shows packets as counters though the source forgets a call when
// it ends: MediaEnded has its packets a moment later, or earlier. In between
// the sum would step back, which a counter must not, so the most that was shown
// stands until it is passed.
func (w *watched) collectMedia(out chan<- prometheus.Metric, now Media) {
	w.mu.Lock()
	w.packets = max(w.packets, w.m.ended.packets.Load()+now.Packets)
	w.octets = max(w.octets, w.m.ended.octets.Load()+now.Octets)
	packets, octets := w.packets, w.octets
	w.mu.Unlock()
	out <- gauge(descPorts, float64(now.Ports))
	out <- counter(descPackets, float64(packets))
	out <- counter(descOctets, float64(octets))
	out <- counter(descStrangers, float64(now.Strangers))
}

func gauge(d *prometheus.Desc, v float64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func counter(d *prometheus.Desc, v float64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
}

func bit(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
