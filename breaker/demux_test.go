package breaker

import (
	"testing"
	"time"

	"github.com/pion/rtp"

	"webrtc2sip/internal/offeranswer"
)

// group is a demultiplexer with a stream for each section, without endpoints.
type group struct {
	*demux
	bridges []*bridge
}

const midID = 4

// newGroup makes streams with the mids and payload types given.
func newGroup(sections ...*offeranswer.Media) *group {
	g := &group{demux: &demux{age: func() time.Duration { return time.Second }}}
	g.set(g.join(sections...))
	return g
}

// join describes the streams once more, and adds those that are new.
func (g *group) join(sections ...*offeranswer.Media) *sources {
	next := &sources{}
	for i, m := range sections {
		if i == len(g.bridges) {
			g.bridges = append(g.bridges, newBridge(time.Now(), m.Kind == "audio"))
		}
		types := [128]uint8{}
		for pt := range types {
			types[pt] = offeranswer.NoPayload
		}
		for _, f := range m.Formats {
			types[f.PayloadType] = f.PayloadType
		}
		g.bridges[i].ends[0].route = *newRoute(false, types, m)
		next.add(&g.bridges[i].ends[0], m.Mid, midID, m)
	}
	return next
}

func section(mid string, pt uint8, ssrcs ...uint32) *offeranswer.Media {
	m := &offeranswer.Media{Mid: mid, Formats: []offeranswer.Format{{PayloadType: pt, Codec: "x", ClockRate: 90000, Channels: 1}}}
	for _, id := range ssrcs {
		m.SSRCs = append(m.SSRCs, offeranswer.SSRC{ID: id})
	}
	return m
}

// packet is one of a source, with a mid if that is not "".
func (g *group) packet(ssrc uint32, pt uint8, mid string) []byte {
	p := rtp.Packet{Header: rtp.Header{Version: 2, SSRC: ssrc, PayloadType: pt}, Payload: []byte("x")}
	if mid != "" {
		if err := p.SetExtension(midID, []byte(mid)); err != nil {
			panic(err)
		}
	}
	raw, err := p.Marshal()
	if err != nil {
		panic(err)
	}
	return raw
}

// expect checks which stream gets a packet; -1: none.
func (g *group) expect(t *testing.T, what string, packet []byte, want int) {
	t.Helper()
	before := make([]uint64, len(g.bridges))
	for i, b := range g.bridges {
		before[i] = b.ends[0].in.packets.Load() + b.ends[0].unwanted.Load()
	}
	unknown := g.unknown.Load()
	g.ReceiveRTP(packet)
	got := -1
	for i, b := range g.bridges {
		if b.ends[0].in.packets.Load()+b.ends[0].unwanted.Load() != before[i] {
			got = i
		}
	}
	if got != want || (g.unknown.Load() != unknown) != (want < 0) {
		t.Errorf("%s: stream %d, want %d", what, got, want)
	}
}

func TestDemux(t *testing.T) {
	g := newGroup(section("a", 0, 10), section("v", 96, 20), section("w", 96))
	g.expect(t, "described", g.packet(10, 0, ""), 0)
	g.expect(t, "described, the mid of another", g.packet(20, 96, "a"), 1)
	g.expect(t, "a mid", g.packet(30, 96, "w"), 2)
	g.expect(t, "learnt by the mid", g.packet(30, 96, ""), 2)
	g.expect(t, "a payload type of one", g.packet(11, 0, ""), 0)
	g.expect(t, "a payload type of two", g.packet(40, 96, ""), -1)
	g.expect(t, "a payload type of none", g.packet(41, 97, ""), -1)
	g.expect(t, "an unknown mid and a payload type of two", g.packet(42, 96, "z"), -1)
	g.expect(t, "the one that was not known, with its mid", g.packet(40, 96, "v"), 1)
	g.expect(t, "short", []byte{0x80, 0, 0}, -1)

	// A re-offer keeps what was learnt of streams that go on.
	g.set(g.join(section("a", 0, 10), section("v", 96, 20), section("w", 96)))
	g.expect(t, "learnt before the re-offer", g.packet(30, 96, ""), 2)
	gone := g.join(section("a", 0, 10), section("v", 96, 21))
	g.set(gone)
	g.expect(t, "of a stream that has gone", g.packet(30, 97, ""), -1)
	g.expect(t, "described anew", g.packet(21, 96, ""), 1)
}

// Layers of old simulcast are no stream's, nor are their repetitions.
func TestDemuxTakesOneLayer(t *testing.T) {
	m := section("v", 96, 1, 2, 3, 4, 5)
	m.SSRCGroups = []offeranswer.SSRCGroup{{Semantics: "SIM", IDs: []uint32{1, 2, 3}}, {Semantics: "FID", IDs: []uint32{1, 4}}, {Semantics: "FID", IDs: []uint32{2, 5}}}
	g := newGroup(m)
	g.expect(t, "first layer", g.packet(1, 96, ""), 0)
	for _, ssrc := range []uint32{2, 3, 5} {
		g.expect(t, "another", g.packet(ssrc, 96, ""), -1)
	}
	g.expect(t, "repetitions of the first layer", g.packet(4, 96, ""), 0)
	g.expect(t, "not described", g.packet(9, 96, ""), 0)
}

// One stream gets everything, as a change of the source wants it.
func TestDemuxOfOneStream(t *testing.T) {
	g := newGroup(section("a", 0, 10))
	for _, ssrc := range []uint32{10, 11, 12} {
		g.expect(t, "any source", g.packet(ssrc, 0, ""), 0)
	}
}

// However many sources come, those of the description stay known.
func TestDemuxIsBounded(t *testing.T) {
	described := make([]uint32, maxSources)
	for i := range described {
		described[i] = uint32(1000 + i)
	}
	g := newGroup(section("a", 0, 10), section("v", 96, described...))
	for ssrc := range uint32(5 * maxSources) {
		g.expect(t, "a source", g.packet(5000+ssrc, 96, ""), 1)
	}
	g.expect(t, "a described one", g.packet(10, 96, ""), 0)
	if g.filled > maxSources {
		t.Errorf("%d sources", g.filled)
	}
}
