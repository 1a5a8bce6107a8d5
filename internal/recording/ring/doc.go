// Package ring carries copies of packets off the packet road.
//
//	worker's loop ── Put ──► octets of a fixed size ── Take ──► a goroutine that may be slow
//
// A [Ring] is for one writer and one reader, which share nothing but two counters. It costs the writer a copy and
// never a wait: a ring that nobody empties takes nothing any more, and whoever puts counts what is lost.
package ring
