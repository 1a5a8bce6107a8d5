// Package metrics counts what the gateway does and shows it to Prometheus.
//
//	m := metrics.New()
//	m.Build(version)
//	m.Request("INVITE", "sip", "WSS")          where something happens
//	m.Watch(metrics.Sources{Calls: …, …})      what is asked at each scrape
//	http.Handle("/metrics", m.Handler())
//
// Events are counted by the methods of [Metrics]; states that somebody else
// keeps anyway (calls that stand, flows, bans, targets) are not mirrored here
// but asked for by the functions of [Sources] when a scrape comes. Every name
// starts with webrtc2sip_; the figures of the Go runtime and of the process
// come along under their usual names.
//
//	requests_total{method,door,transport}   responses_total{method,class}
//	refusals_total{reason}                  bans_total{reason}     bans
//	calls_total{cause}                      call_setup_seconds     call_seconds     calls
//	registrations_total{result}             registrations          trunk_registered{trunk}
//	media_packets_total  media_octets_total  media_lost_total  media_mos  media_strangers_total  media_ports
//	flows{transport}     transactions       target_up{target}      targets{state}
//	dns_lookups_total{outcome}              dns_seconds
//	trace_sent_total     trace_dropped_total                       overloaded
//	build_info{version,goversion}
//
// # Bounds
//
// A label value costs memory for ever, here and in the database behind it, and
// peers choose methods, names and addresses. So methods, doors and transports
// that are not in the table of their kind are counted as "other"; reasons,
// causes and outcomes, which are words of this program, are kept up to 64 of
// each kind and cut at 64 octets; of targets and trunks 200 are listed by name,
// and all are counted. No label ever holds a user, a number or a Call-ID.
//
// # Concurrency
//
// All methods may be called concurrently and wait for nobody; counting
// allocates nothing. The registry is private, so that two gateways in one
// process do not meet, and nothing is registered behind the back of this
// package. It starts no goroutine.
package metrics
