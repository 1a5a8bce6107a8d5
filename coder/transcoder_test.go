package coder_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"webrtc2sip/coder"
	"webrtc2sip/coder/comfort"
	"webrtc2sip/coder/g711"
	"webrtc2sip/coder/g722"
	"webrtc2sip/coder/gsm"
	"webrtc2sip/coder/jitter"
	"webrtc2sip/coder/opus"
	"webrtc2sip/internal/testpeer"
)

const (
	ms     = time.Millisecond
	second = time.Second
)

// load skips tests of Opus where the library is missing.
func load(t testing.TB) *coder.Codecs {
	t.Helper()
	c, err := coder.Load()
	if err != nil {
		testpeer.Missing(t, err.Error())
	}
	return c
}

func newTranscoder(t testing.TB, codecs *coder.Codecs, c coder.Config) *coder.Transcoder {
	t.Helper()
	made, err := codecs.NewTranscoder(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(made.Close)
	return made
}

// party codes and decodes as a phone of one codec would, at the codec's rate; 16 kHz for Opus.
type party struct {
	rate, clock int
	encode      func(pcm []int16) []byte
	decode      func(payload []byte) []int16
}

func newParty(t testing.TB, codec string) party {
	t.Helper()
	law := map[string]*g711.Law{"PCMU": g711.Mu, "PCMA": g711.A}[codec]
	switch codec {
	case "G722":
		e, d := g722.NewEncoder(), g722.NewDecoder()
		return party{16000, 8000, func(pcm []int16) []byte {
			payload := make([]byte, len(pcm)/2)
			e.Encode(payload, pcm)
			return payload
		}, func(payload []byte) []int16 {
			pcm := make([]int16, 2*len(payload))
			d.Decode(pcm, payload)
			return pcm
		}}
	case "GSM":
		e, d := gsm.NewEncoder(), gsm.NewDecoder()
		return party{8000, 8000, func(pcm []int16) []byte {
			payload := make([]byte, len(pcm)/gsm.Samples*gsm.Octets)
			e.Encode(payload, pcm)
			return payload
		}, func(payload []byte) []int16 {
			pcm := make([]int16, len(payload)/gsm.Octets*gsm.Samples)
			d.Decode(pcm, payload)
			return pcm
		}}
	case "opus":
		return newOpusParty(t)
	}
	return party{8000, 8000, func(pcm []int16) []byte {
		payload := make([]byte, len(pcm))
		law.Encode(payload, pcm)
		return payload
	}, func(payload []byte) []int16 {
		pcm := make([]int16, len(payload))
		law.Decode(pcm, payload)
		return pcm
	}}
}

func newOpusParty(t testing.TB) party {
	t.Helper()
	l, err := opus.Open()
	if err != nil {
		testpeer.Missing(t, err.Error())
	}
	e, err := l.NewEncoder(opus.Config{Rate: 16000, Bitrate: 20000, Complexity: 5, FEC: true, Loss: 30})
	if err != nil {
		t.Fatal(err)
	}
	d, err := l.NewDecoder(16000)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close(); d.Close() })
	return party{16000, 48000, func(pcm []int16) []byte {
		payload := make([]byte, opus.MaxPacket)
		n, err := e.Encode(payload, pcm)
		if err != nil {
			t.Error(err)
		}
		return payload[:n]
	}, func(payload []byte) []int16 {
		pcm := make([]int16, opus.MaxFrame(16000))
		n, err := d.Decode(pcm, payload)
		if err != nil {
			t.Error(err)
		}
		return pcm[:n]
	}}
}

// tone is 440 Hz with an amplitude of 8000.
func (p party) tone(length time.Duration) []int16 {
	pcm := make([]int16, int(length.Seconds()*float64(p.rate)))
	for i := range pcm {
		pcm[i] = int16(math.Round(8000 * math.Sin(2*math.Pi*440*float64(i)/float64(p.rate))))
	}
	return pcm
}

// a sent packet and when it arrives.
type sent struct {
	packet jitter.Packet
	at     time.Duration
}

// send packs sound in packets of a length that take 5 ms.
func (p party) send(pcm []int16, ptime time.Duration) []sent {
	var out []sent
	size := int(ptime.Seconds() * float64(p.rate))
	for n := 0; (n+1)*size <= len(pcm); n++ {
		out = append(out, sent{jitter.Packet{
			SSRC: 7, Sequence: uint16(65530 + n), Timestamp: uint32(0xfffff000 + int(ptime.Seconds()*float64(p.clock))*n),
			PayloadType: 96, Payload: p.encode(pcm[n*size:][:size]),
		}, time.Duration(n)*ptime + 5*ms})
	}
	return out
}

// leaving is a packet that left, with its own payload.
type leaving struct {
	coder.Packet
	at time.Duration
}

// through lets packets arrive and makes frames for a time.
func through(t *coder.Transcoder, list []sent, ptime, until time.Duration) []leaving {
	slices.SortStableFunc(list, func(a, b sent) int { return int(a.at - b.at) })
	var out []leaving
	for at := time.Duration(0); at < until; at += ptime {
		for len(list) > 0 && list[0].at <= at {
			t.Receive(list[0].packet, list[0].at)
			list = list[1:]
		}
		if p, ok := t.Frame(at); ok {
			p.Payload = slices.Clone(p.Payload)
			out = append(out, leaving{p, at})
		}
	}
	return out
}

func (p party) heard(list []leaving) []int16 {
	var pcm []int16
	for _, l := range list {
		pcm = append(pcm, p.decode(l.Payload)...)
	}
	return pcm
}

// measure returns the amplitude of 440 Hz, and the root mean square of the rest.
func (p party) measure(pcm []int16) (amplitude, rest float64) {
	var sine, cosine, energy float64
	for i, s := range pcm {
		v, phase := float64(s), 2*math.Pi*440*float64(i)/float64(p.rate)
		sine, cosine, energy = sine+v*math.Sin(phase), cosine+v*math.Cos(phase), energy+v*v
	}
	n := float64(len(pcm))
	amplitude = 2 * math.Hypot(sine, cosine) / n
	return amplitude, math.Sqrt(max(0, energy/n-amplitude*amplitude/2))
}

func pairs() (list [][2]string) {
	names := []string{"opus", "G722", "PCMU", "PCMA", "GSM"}
	for _, from := range names {
		for _, to := range names {
			if from != to {
				list = append(list, [2]string{from, to})
			}
		}
	}
	return list
}

// tolerance is by how many dB the level may differ: GSM alone does not keep that of a tone better.
func tolerance(pair [2]string) float64 {
	if slices.Contains(pair[:], "GSM") {
		return 0.8
	}
	return 0.5
}

func config(from, to string) coder.Config {
	return coder.Config{From: coder.Format{Codec: from}, To: coder.Format{Codec: to}, PayloadType: 96, Noise: 13}
}

// TestPairs: a tone comes out of each pair of codecs with its level, and packets leave as often as they came.
func TestPairs(t *testing.T) {
	codecs := load(t)
	for _, pair := range pairs() {
		t.Run(pair[0]+" to "+pair[1], func(t *testing.T) {
			from, to := newParty(t, pair[0]), newParty(t, pair[1])
			x := newTranscoder(t, codecs, config(pair[0], pair[1]))
			out := through(x, from.send(from.tone(2*second), 20*ms), 20*ms, 2*second)
			if len(out) != 98 { // of 100, two wait in the jitter buffer
				t.Errorf("%d packets left, want 98", len(out))
			}
			for i := 1; i < len(out); i++ {
				if step := out[i].Timestamp - out[i-1].Timestamp; step != uint32(to.clock/50) || out[i].Marker {
					t.Fatalf("packet %d: a step of %d, marker %v", i, step, out[i].Marker)
				}
			}
			if !out[0].Marker {
				t.Error("no marker on the first packet")
			}
			amplitude, rest := to.measure(to.heard(out)[to.rate/5:])
			if level := 20 * math.Log10(amplitude/8000); math.Abs(level) > tolerance(pair) || rest > amplitude/10 {
				t.Errorf("level %.2f dB, %.0f beside %.0f", level, rest, amplitude)
			}
			if s := x.Stats(); s.Decoded != 98 || s.Sent != 98 || s.MadeUp+s.LeftOut+s.Overrun > 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// TestPTime: packets of any length become packets of another.
func TestPTime(t *testing.T) {
	codecs := load(t)
	for _, pair := range pairs() {
		for _, in := range []time.Duration{10 * ms, 20 * ms, 40 * ms, 60 * ms} {
			for _, out := range []time.Duration{10 * ms, 30 * ms, 60 * ms} {
				if pair[0] == "GSM" && in == 10*ms || pair[1] == "GSM" && out%(20*ms) > 0 || pair[1] == "opus" && out == 30*ms {
					continue
				}
				from, to, c := newParty(t, pair[0]), newParty(t, pair[1]), config(pair[0], pair[1])
				c.PTime = out
				x := newTranscoder(t, codecs, c)
				list := through(x, from.send(from.tone(second), in), out, second)
				pcm := to.heard(list)
				amplitude, _ := to.measure(pcm[to.rate/5 : len(pcm)-to.rate/10])
				if level := 20 * math.Log10(amplitude/8000); math.Abs(level) > tolerance(pair) {
					t.Errorf("%v, %v to %v: level %.2f dB", pair, in, out, level)
				}
				if d := time.Duration(len(pcm)) * second / time.Duration(to.rate); d < 850*ms {
					t.Errorf("%v, %v to %v: %v of sound", pair, in, out, d)
				}
			}
		}
	}
}

// TestLoss: with a tenth of the packets lost, packets leave all the same, and the tone is there.
func TestLoss(t *testing.T) {
	codecs := load(t)
	for _, pair := range pairs() {
		from, to := newParty(t, pair[0]), newParty(t, pair[1])
		x, r := newTranscoder(t, codecs, config(pair[0], pair[1])), rand.New(rand.NewPCG(1, 1))
		list := from.send(from.tone(4*second), 20*ms)
		list = slices.DeleteFunc(list, func(s sent) bool { return s.packet.Sequence != 65530 && r.IntN(10) == 0 })
		out := through(x, list, 20*ms, 4*second)
		pcm := to.heard(out)
		if len(out) < 195 {
			t.Errorf("%v: %d packets left, want 198", pair, len(out))
		}
		// What is made up may slip in phase, so that a piece with two gaps adds up to little: its energy tells of holes.
		// Where several in a row are lost it fades.
		softest, amplitudes := math.Inf(1), []float64(nil)
		for piece := range slices.Chunk(pcm[to.rate/5:len(pcm)-to.rate/5], to.rate/5) {
			amplitude, rest := to.measure(piece)
			softest = min(softest, math.Sqrt(amplitude*amplitude+2*rest*rest))
			amplitudes = append(amplitudes, amplitude)
		}
		slices.Sort(amplitudes)
		if median := amplitudes[len(amplitudes)/2]; median < 6000 || softest < 3500 {
			t.Errorf("%v: the tone has %.0f of 8000, and is down to %.0f", pair, median, softest)
		}
		if s := x.Stats(); s.MadeUp < 8 || s.LeftOut > 8 {
			t.Errorf("%v: %+v", pair, s)
		}
	}
}

// TestCatchUp: what an outage of the network has held back is left out until sound is in time again, and nothing clicks.
func TestCatchUp(t *testing.T) {
	steepest := func(pcm []int16) (most int) {
		for i := 1; i < len(pcm); i++ {
			most = max(most, int(pcm[i])-int(pcm[i-1]), int(pcm[i-1])-int(pcm[i]))
		}
		return most
	}
	for _, codec := range []string{"PCMU", "G722"} {
		from, to := newParty(t, codec), newParty(t, "PCMA")
		x, pcm := newTranscoder(t, new(coder.Codecs), config(codec, "PCMA")), from.tone(20*second)
		list := from.send(pcm, 20*ms)
		for i := range list[200:215] {
			list[200+i].at = max(list[200+i].at, list[215].at)
		}
		out := through(x, list, 20*ms, 20*second)
		heard := to.heard(out)
		if s := x.Stats(); s.LeftOut < 5 || s.LeftOut > 20 {
			t.Errorf("%s: %+v", codec, s)
		}
		if got, own := steepest(heard), steepest(to.tone(second)); got > 2*own {
			t.Errorf("%s: a step of %d in a tone of steps up to %d", codec, got, own)
		}
	}
}

// TestNoise: a phone that is silent and describes its noise is heard with it, and its voice afterwards.
func TestNoise(t *testing.T) {
	from, to := newParty(t, "PCMU"), newParty(t, "G722")
	x := newTranscoder(t, new(coder.Codecs), config("PCMU", "G722"))
	list := from.send(from.tone(4*second), 20*ms)
	noise := list[50]
	noise.packet.PayloadType, noise.packet.Payload = 13, []byte{40}
	voice := list[150:]
	for i := range voice {
		voice[i].packet.Sequence -= 99
	}
	out := through(x, slices.Concat(list[:50], []sent{noise}, voice), 20*ms, 4*second)
	pcm := to.heard(out)
	if got := comfort.Level(pcm[to.rate*3/2 : to.rate*5/2]); got < 37 || got > 43 {
		t.Errorf("noise of −%d dBov, want −40", got)
	}
	if amplitude, _ := to.measure(pcm[len(pcm)-to.rate/2:]); amplitude < 7500 {
		t.Errorf("the tone has %.0f behind the pause", amplitude)
	}
	if len(out) != 198 {
		t.Errorf("%d packets left, want 198", len(out))
	}
}

// TestPause: where a sender stops, nothing leaves after a second. When it is back, timestamps tell of the pause.
func TestPause(t *testing.T) {
	from := newParty(t, "PCMA")
	x := newTranscoder(t, new(coder.Codecs), config("PCMA", "G722"))
	list := from.send(from.tone(10*second), 20*ms)
	out := through(x, slices.Concat(list[:50], list[400:]), 20*ms, 10*second)
	if len(out) < 50+48+50 || len(out) > 50+100+52 {
		t.Errorf("%d packets left", len(out))
	}
	markers := 0
	for i, l := range out {
		if l.Marker {
			markers++
		}
		if want := out[0].Timestamp + uint32((l.at-out[0].at)/ms*8); l.Timestamp != want {
			t.Fatalf("packet %d at %v: timestamp %d, want %d", i, l.at, l.Timestamp, want)
		}
	}
	if markers != 2 {
		t.Errorf("%d markers, want 2", markers)
	}
}

// TestDigits: telephone-events and unknown types in the stream are not missed and not played.
func TestDigits(t *testing.T) {
	from := newParty(t, "PCMU")
	x := newTranscoder(t, new(coder.Codecs), config("PCMU", "PCMA"))
	list := from.send(from.tone(2*second), 20*ms)
	for i := 30; i < 40; i++ {
		list[i].packet.PayloadType, list[i].packet.Timestamp = 101, list[30].packet.Timestamp
	}
	through(x, list, 20*ms, 2*second)
	if s := x.Stats(); s.Decoded != 88 || s.Delay != 20*ms {
		t.Errorf("%+v", s)
	}
}

// TestDTX: towards a party that can do with less, silence costs few packets.
func TestDTX(t *testing.T) {
	codecs, from := load(t), newParty(t, "PCMU")
	c := config("PCMU", "opus")
	c.To.DTX = true
	x := newTranscoder(t, codecs, c)
	if out := through(x, from.send(make([]int16, 4*8000), 20*ms), 20*ms, 4*second); len(out) > 60 {
		t.Errorf("%d packets left of 4 s of silence", len(out))
	}
}

// TestBitrate: Opus keeps to what the other party wants at most.
func TestBitrate(t *testing.T) {
	codecs, from := load(t), newParty(t, "G722")
	for _, most := range []int{8000, 12000, 0} {
		c := config("G722", "opus")
		c.To.MaxBitrate, c.To.FEC = most, true
		octets := 0
		for _, l := range through(newTranscoder(t, codecs, c), from.send(from.tone(2*second), 20*ms), 20*ms, 2*second) {
			octets += len(l.Payload)
		}
		if rate := octets * 8 / 2; most > 0 && rate > most*5/4 || rate < 4000 {
			t.Errorf("%d bit/s, want %d at most", rate, most)
		}
	}
}

func TestUnknown(t *testing.T) {
	none := new(coder.Codecs)
	for name, c := range map[string]coder.Config{
		"codec":              config("G729", "PCMU"),
		"codec to":           config("PCMU", "telephone-event"),
		"opus to, missing":   config("PCMU", "opus"),
		"opus from, missing": config("opus", "PCMU"),
		"ptime":              {From: coder.Format{Codec: "PCMU"}, To: coder.Format{Codec: "PCMA"}, PTime: 25 * ms},
		"ptime of GSM":       {From: coder.Format{Codec: "PCMU"}, To: coder.Format{Codec: "gsm"}, PTime: 10 * ms},
		"ptime of opus":      {From: coder.Format{Codec: "PCMU"}, To: coder.Format{Codec: "OPUS"}, PTime: 30 * ms},
	} {
		if _, err := none.NewTranscoder(c); !errors.Is(err, coder.ErrUnknown) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := none.Names(); !slices.Equal(got, []string{"G722", "PCMU", "PCMA", "GSM"}) || none.Version() != "" {
		t.Errorf("without a library: %q %q", got, none.Version())
	}
	if c := load(t); c.Names()[0] != "opus" || c.Version() == "" {
		t.Errorf("with one: %q %q", c.Names(), c.Version())
	}
}

// TestFlood: packets that come faster than they are taken are dropped, and nothing waits.
func TestFlood(t *testing.T) {
	from := newParty(t, "PCMU")
	x := newTranscoder(t, new(coder.Codecs), config("PCMU", "PCMA"))
	for _, s := range from.send(from.tone(2*second), 20*ms) {
		x.Receive(s.packet, 0)
	}
	if s := x.Stats(); s.Overrun != 68 {
		t.Errorf("%+v", s)
	}
}

// TestAllocations: a frame costs none, once each place has held a packet.
func TestAllocations(t *testing.T) {
	codecs := load(t)
	for _, pair := range pairs() {
		step := stepper(t, codecs, pair)
		for range 200 {
			step()
		}
		if n := testing.AllocsPerRun(200, step); n > 0 {
			t.Errorf("%v: %v allocations", pair, n)
		}
	}
}

// stepper returns what takes one packet and makes one.
func stepper(t testing.TB, codecs *coder.Codecs, pair [2]string) func() {
	from := newParty(t, pair[0])
	x, list := newTranscoder(t, codecs, config(pair[0], pair[1])), from.send(from.tone(second), 20*ms)
	p, at, n := list[0].packet, time.Duration(0), 0
	return func() {
		p.Payload = list[n%len(list)].packet.Payload
		x.Receive(p, at)
		p.Sequence++
		p.Timestamp += uint32(from.clock / 50)
		n++
		at += 20 * ms
		x.Frame(at)
	}
}

func FuzzTranscoder(f *testing.F) {
	f.Add([]byte{0, 1, 5, 1, 2, 3, 4, 5})
	f.Add([]byte{13, 200, 1, 40, 96, 1, 2, 9, 9})
	codecs, _ := coder.Load()
	f.Fuzz(func(t *testing.T, script []byte) {
		for _, pair := range pairs() {
			x, err := codecs.NewTranscoder(config(pair[0], pair[1]))
			if err != nil {
				continue
			}
			p, rest, at := jitter.Packet{}, script, time.Duration(0)
			for len(rest) > 3 {
				size := min(int(rest[2]), len(rest)-3)
				p.PayloadType, p.Payload = []uint8{96, 13, 101}[rest[0]%3], rest[3:3+size]
				p.Sequence += uint16(rest[0] >> 4)
				p.Timestamp += uint32(rest[1]) * 80
				rest = rest[3+size:]
				x.Receive(p, at)
				at += time.Duration(p.Sequence&31) * ms
				if out, ok := x.Frame(at); ok && len(out.Payload) == 0 {
					t.Fatal("an empty packet")
				}
			}
			x.Close()
		}
	})
}

func BenchmarkTranscode(b *testing.B) {
	codecs := load(b)
	for _, pair := range pairs() {
		b.Run(fmt.Sprintf("%s to %s", pair[0], pair[1]), func(b *testing.B) {
			step := stepper(b, codecs, pair)
			for range 200 {
				step()
			}
			b.ReportAllocs()
			for b.Loop() {
				step()
			}
		})
	}
}
