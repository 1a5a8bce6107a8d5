package proxy

import "time"

// Meter counts what happens; *metrics.Metrics is one. Its methods must not
// wait.
type Meter interface {
	Request(method, door, transport string)
	Response(method string, status int)
	Refused(reason string)
	Registered(status int) // 0: no answer
	CallUp(setup time.Duration)
	CallEnded(cause string, talked time.Duration)
}

// uncounted is the Meter of those who want none.
type uncounted struct{}

func (uncounted) Request(string, string, string)  {}
func (uncounted) Response(string, int)            {}
func (uncounted) Refused(string)                  {}
func (uncounted) Registered(int)                  {}
func (uncounted) CallUp(time.Duration)            {}
func (uncounted) CallEnded(string, time.Duration) {}

// door is the way in that everything here came by.
const door = "sip"
