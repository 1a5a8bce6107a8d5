package breaker

import "time"

// sourceClock relates the NTP clock of a party to the time of its call, from the
// sender reports of all its streams: with one clock for all of them, what the
// party made at one moment has one moment in the reports that we make, and
// sound and pictures are played together (RFC 3550 §6.4.1). It belongs to the
// loop. The zero value knows nothing.
type sourceClock struct {
	known  bool
	offset time.Duration // of the call's time from the party's NTP time
}

const (
	// clockJump is a change that no network makes: the party has set its clock.
	clockJump = time.Second
	// clockFollow is the share of a later arrival that is believed: most of it
	// is the network, but a clock that runs slow has to be followed.
	clockFollow = 32
)

// at returns when, in the time of the call, a report was made that has arrived
// now. The reports that were under way for the shortest time tell it best.
func (c *sourceClock) at(ntp uint64, arrived time.Duration) time.Duration {
	made := ntpDuration(ntp)
	offset := arrived - made
	late := offset - c.offset
	switch {
	case !c.known || late > clockJump || late < -clockJump:
		c.known, c.offset = true, offset
	case late < 0:
		c.offset = offset
	default:
		c.offset += late / clockFollow
	}
	return made + c.offset
}

// ntpDuration is an NTP timestamp as time since 1900.
func ntpDuration(ntp uint64) time.Duration {
	return time.Duration(ntp>>32)*time.Second + time.Duration((ntp&(1<<32-1))*uint64(time.Second)>>32)
}
