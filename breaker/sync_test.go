package breaker

import (
	"testing"
	"time"

	"github.com/pion/rtcp"
)

func TestSourceClock(t *testing.T) {
	const ms = time.Millisecond
	ntp := func(d time.Duration) uint64 { return ntpTime(time.Unix(1_700_000_000, 0).Add(d)) }
	var c sourceClock
	steps := []struct {
		name          string
		made, arrived time.Duration
		want          time.Duration
	}{
		{"first", 0, 80 * ms, 80 * ms},
		{"faster", 5000 * ms, 5020 * ms, 5020 * ms},
		{"slower is the network", 10_000 * ms, 10_052 * ms, 10_021 * ms},
		{"the clock was set", 3_600_000 * ms, 15_000 * ms, 15_000 * ms},
		{"and set back", 0, 20_000 * ms, 20_000 * ms},
	}
	for _, s := range steps {
		if got := c.at(ntp(s.made), s.arrived).Round(ms); got != s.want {
			t.Errorf("%s: got %v, want %v", s.name, got, s.want)
		}
	}
}

// party is one that sends sound and pictures by one clock, in timestamps that
// begin anywhere.
type party struct {
	streams [2]*bridge
	rates   [2]uint32
	first   [2]uint32
	began   time.Time
}

func newParty(began time.Time) *party {
	p := &party{rates: [2]uint32{48000, 90000}, first: [2]uint32{0xfffffff0, 12345}, began: began}
	var clock sourceClock
	for i := range p.streams {
		p.streams[i] = newBridge(began, i == 0)
		p.streams[i].ends[0].clock = &clock
	}
	return p
}

func (p *party) timestamp(i int, made time.Duration) uint32 {
	return p.first[i] + uint32(made.Seconds()*float64(p.rates[i]))
}

// packet is sampled when made and arrives later; it returns the timestamp that
// goes out.
func (p *party) packet(t *testing.T, i int, sequence uint16, made, arrived time.Duration) uint32 {
	t.Helper()
	h := header{ssrc: uint32(100 + i), sequence: sequence, timestamp: p.timestamp(i, made)}
	if !p.streams[i].ends[1].out.next(&h, arrived, p.rates[i]) {
		t.Fatal("the packet does not go out")
	}
	return h.timestamp
}

// report tells when made was by the party's own clock, which is years off.
func (p *party) report(t *testing.T, i int, made, arrived time.Duration) {
	t.Helper()
	raw, err := rtcp.Marshal([]rtcp.Packet{&rtcp.SenderReport{
		SSRC: uint32(100 + i), NTPTime: ntpTime(p.began.AddDate(-5, 0, 0).Add(made)), RTPTime: p.timestamp(i, made),
	}})
	if err != nil {
		t.Fatal(err)
	}
	readRTCP(raw, &p.streams[i].ends[0], arrived, p.began.Add(arrived))
}

// shown is when our reports of now say that a timestamp was sampled.
func (p *party) shown(i int, timestamp uint32, now time.Duration) time.Duration {
	out := &p.streams[i].ends[1].out
	return now - time.Duration(int32(out.timestampAt(now)-timestamp))*time.Second/time.Duration(p.rates[i])
}

// TestSoundAndPicturesStayTogether: what was sampled at one moment is at one
// moment in our reports on both streams, although the pictures take a quarter of
// a second longer to be made and sent.
func TestSoundAndPicturesStayTogether(t *testing.T) {
	const ms = time.Millisecond
	p := newParty(time.Now())
	sound := p.packet(t, 0, 1, 1000*ms, 1030*ms)
	picture := p.packet(t, 1, 1, 1000*ms, 1280*ms)
	now := 3000 * ms
	apart := func() time.Duration { return (p.shown(0, sound, now) - p.shown(1, picture, now)).Round(ms) }
	if got := apart(); got != -250*ms {
		t.Errorf("%v apart without reports, want what they came apart", got)
	}
	p.report(t, 0, 1100*ms, 1130*ms)
	p.report(t, 1, 2000*ms, 2045*ms)
	if got := apart(); got < -ms || got > ms {
		t.Errorf("%v apart", got)
	}
	if got := p.shown(0, sound, now).Round(ms); got != 1030*ms {
		t.Errorf("sampled at %v, want the shortest way after 1s", got)
	}

	// Nonsense is not believed, nor is what belongs to another source or to the
	// one before a splice.
	p.first[1] += 10 * p.rates[1]
	p.report(t, 1, 2500*ms, 2545*ms)
	p.first[1] -= 10 * p.rates[1]
	if got := p.streams[1].ends[1].out.synced.Load(); got != 0 {
		t.Errorf("a report that is 10 s off was believed: %x", got)
	}
	p.report(t, 1, 2600*ms, 2645*ms)
	p.streams[1].ends[1].out.realign = true
	p.packet(t, 1, 9, 2700*ms, 2745*ms)
	if got := p.streams[1].ends[1].out.synced.Load(); got != 0 {
		t.Errorf("still by the report from before the splice: %x", got)
	}
	p.streams[1].ends[1].out.sync(7, 1, 0, now)
	if got := p.streams[1].ends[1].out.synced.Load(); got != 0 {
		t.Errorf("by the report of a stranger: %x", got)
	}
}
