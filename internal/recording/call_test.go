package recording

import (
	"encoding/binary"
	"encoding/json"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"webrtc2sip/internal/offeranswer"
)

const (
	caller = offeranswer.Caller
	callee = offeranswer.Callee
)

var (
	pcmu = offeranswer.Format{PayloadType: 0, Codec: "PCMU", ClockRate: 8000, Channels: 1}
	pcma = offeranswer.Format{PayloadType: 8, Codec: "PCMA", ClockRate: 8000, Channels: 1}
	opus = offeranswer.Format{PayloadType: 111, Codec: "opus", ClockRate: 48000, Channels: 2}
)

func testLogger(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), nil))
}

// a phone sends one tone as PCMU, a packet every 20 ms.
type phone struct {
	tap       *Tap
	side      offeranswer.Side
	frequency float64
	ssrc      uint32
	sequence  uint16
	timestamp uint32
	phase     int
}

// packet makes the next packet.
func (p *phone) packet() []byte {
	b := rtpPacket(0, p.ssrc, p.sequence, p.timestamp, false, nil)
	for range 160 {
		s := 8000 * math.Sin(2*math.Pi*p.frequency*float64(p.phase)/8000)
		b = append(b, encodeMu(s))
		p.phase++
	}
	p.sequence++
	p.timestamp += 160
	return b
}

func rtpPacket(payloadType uint8, ssrc uint32, sequence uint16, timestamp uint32, marker bool, payload []byte) []byte {
	b := make([]byte, 12, 12+len(payload))
	b[0], b[1] = 0x80, payloadType
	if marker {
		b[1] |= 0x80
	}
	binary.BigEndian.PutUint16(b[2:], sequence)
	binary.BigEndian.PutUint32(b[4:], timestamp)
	binary.BigEndian.PutUint32(b[8:], ssrc)
	return append(b, payload...)
}

// encodeMu finds the octet of the table that is nearest.
func encodeMu(s float64) byte {
	best, at := math.Inf(1), 0
	for i, v := range muLaw {
		if d := math.Abs(float64(v) - s); d < best {
			best, at = d, i
		}
	}
	return byte(at)
}

// a bench records one call in fake time.
type bench struct {
	t        *testing.T
	recorder *Recorder
	rec      *Recording
	tap      *Tap
	began    time.Time
	dir      string
}

// inBench runs f with a recorder on the folder dir; wrap may stand between them.
func inBench(t *testing.T, dir string, wrap func(disk) disk, f func(b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		d, err := openFolder(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = d.root.Close() }()
		var on disk = d
		if wrap != nil {
			on = wrap(d)
		}
		b := &bench{t: t, recorder: newRecorder(Config{Logger: testLogger(t)}, on), began: time.Now(), dir: dir}
		b.rec, err = b.recorder.Start(Call{ID: "call/../1", Caller: "sip:a@example.org", Began: b.began})
		if err != nil {
			t.Fatal(err)
		}
		b.tap = b.rec.Tap(0, false)
		b.tap.SetFormats(caller, []offeranswer.Format{pcmu, pcma, opus})
		b.tap.SetFormats(callee, []offeranswer.Format{pcmu, pcma, opus})
		f(b)
		b.rec.Stop("BYE")
		<-b.rec.Done()
	})
}

func (b *bench) age() time.Duration { return time.Since(b.began) }

func (b *bench) phone(side offeranswer.Side, frequency float64) *phone {
	return &phone{tap: b.tap, side: side, frequency: frequency, ssrc: uint32(side) + 7, sequence: 65530, timestamp: math.MaxUint32 - 1000}
}

func (b *bench) send(p *phone) { b.tap.Packet(p.side, b.age(), p.packet()) }

// talk lets phones send for a time.
func (b *bench) talk(length time.Duration, phones ...*phone) {
	for range length / (20 * time.Millisecond) {
		for _, p := range phones {
			b.send(p)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// names returns the files of a folder with an ending, in order.
func names(t *testing.T, dir, ending string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "*"+ending))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func only(t *testing.T, dir, ending string) string {
	t.Helper()
	found := names(t, dir, ending)
	if len(found) != 1 {
		t.Fatalf("got files %v, want one %s", found, ending)
	}
	return found[0]
}

// readWAV checks the header of a file and returns the two channels.
func readWAV(t *testing.T, name string) (left, right []int16) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if len(b) < 44 || string(b[:4]) != "RIFF" || int(binary.LittleEndian.Uint32(b[4:])) != len(b)-8 ||
		int(binary.LittleEndian.Uint32(b[40:])) != len(b)-44 || (len(b)-44)%4 != 0 {
		t.Fatalf("%s: %d octets with the header % x", name, len(b), b[:min(44, len(b))])
	}
	for b = b[44:]; len(b) >= 4; b = b[4:] {
		left = append(left, int16(binary.LittleEndian.Uint16(b)))
		right = append(right, int16(binary.LittleEndian.Uint16(b[2:])))
	}
	return left, right
}

func readCard(t *testing.T, dir string) *sidecar {
	t.Helper()
	b, err := os.ReadFile(only(t, dir, ".json"))
	if err != nil {
		t.Fatal(err)
	}
	var s sidecar
	if err := json.Unmarshal(b, &s); err != nil {
		t.Fatal(err)
	}
	return &s
}

// share is which part of the energy of samples at 8 kHz a frequency has.
func share(pcm []int16, frequency float64) float64 {
	var re, im, total float64
	for i, s := range pcm {
		sin, cos := math.Sincos(2 * math.Pi * frequency * float64(i) / 8000)
		re, im, total = re+float64(s)*cos, im+float64(s)*sin, total+float64(s)*float64(s)
	}
	if total == 0 {
		return 0
	}
	return 2 * (re*re + im*im) / total / float64(len(pcm))
}

// span cuts out of samples at 8 kHz.
func span(pcm []int16, from, to time.Duration) []int16 {
	at := func(d time.Duration) int64 { return min(int64(len(pcm)), units(d, 8000)) }
	return pcm[at(from):at(to)]
}

func wantTone(t *testing.T, what string, pcm []int16, frequency float64) {
	t.Helper()
	if got := share(pcm, frequency); got < 0.9 {
		t.Errorf("%s: %g Hz has %.2f of the energy of %d samples, want most", what, frequency, got, len(pcm))
	}
}

func wantSilence(t *testing.T, what string, pcm []int16) {
	t.Helper()
	for i, s := range pcm {
		if s != 0 {
			t.Errorf("%s: sample %d is %d, want silence", what, i, s)
			return
		}
	}
}

func TestBothSidesInTheirChannels(t *testing.T) {
	dir := t.TempDir()
	inBench(t, dir, nil, func(b *bench) {
		left, right := b.phone(caller, 440), b.phone(callee, 1000)
		b.talk(time.Second, left)
		b.talk(2*time.Second, left, right)
		b.rec.Answered(b.began.Add(time.Second))
		time.Sleep(time.Second)
	})
	left, right := readWAV(t, only(t, dir, ".wav"))
	if len(left) != 4*8000 {
		t.Errorf("got %d samples, want 4 s", len(left))
	}
	wantTone(t, "left", span(left, 0, 3*time.Second), 440)
	wantSilence(t, "left at the end", span(left, 3*time.Second, 4*time.Second))
	wantSilence(t, "right at the beginning", span(right, 0, time.Second))
	wantTone(t, "right", span(right, time.Second, 3*time.Second), 1000)

	s := readCard(t, dir)
	if s.State != stateComplete || s.Reason != "BYE" || s.CallID != "call/../1" || s.Answered == nil || s.Ended == nil || len(s.Files) != 1 {
		t.Errorf("got sidecar %+v", s)
	}
	if len(s.Streams) != 2 || s.Streams[0].Packets != 150 || s.Streams[1].Packets != 100 || s.Streams[0].Lost != 0 {
		t.Errorf("got streams %+v", s.Streams)
	}
	if name := filepath.Base(only(t, dir, ".wav")); s.Files[0].Name != name || s.Files[0].Duration != 4000 {
		t.Errorf("got file %+v, want %s of 4 s", s.Files[0], name)
	}
}

func TestWhatNetworksAndPhonesDo(t *testing.T) {
	const length = 10 * time.Second
	var held []byte
	for _, row := range []struct {
		name string
		// each is called in place of sending the nth packet of the left side.
		each  func(b *bench, p *phone, n int)
		check func(t *testing.T, left []int16, s streamEntry)
	}{
		{
			"reordered", func(b *bench, p *phone, n int) {
				switch n % 5 {
				case 3: // is overtaken
					held = p.packet()
				case 4:
					b.send(p)
					b.tap.Packet(caller, b.age(), held)
				default:
					b.send(p)
				}
			}, func(t *testing.T, left []int16, s streamEntry) {
				if s.Lost != 0 || s.Late != 0 {
					t.Errorf("got %+v, want nothing lost or late", s)
				}
			},
		},
		{
			"duplicated", func(b *bench, p *phone, _ int) {
				packet := p.packet()
				b.tap.Packet(caller, b.age(), packet)
				b.tap.Packet(caller, b.age(), packet)
			}, func(t *testing.T, left []int16, s streamEntry) {
				if s.Duplicates == 0 || s.Lost != 0 {
					t.Errorf("got %+v, want duplicates and nothing lost", s)
				}
			},
		},
		{
			"a packet of ten lost", func(b *bench, p *phone, n int) {
				if n%10 == 9 {
					p.packet()
					return
				}
				b.send(p)
			}, func(t *testing.T, left []int16, s streamEntry) {
				if s.Lost < 48 || s.Lost > 50 {
					t.Errorf("got %d lost, want some 49", s.Lost)
				}
				wantSilence(t, "hole", span(left, 180*time.Millisecond, 200*time.Millisecond))
			},
		},
		{"another source", func(b *bench, p *phone, n int) {
			if n == 250 {
				p.ssrc, p.sequence, p.timestamp = 99, 12, 34567
			}
			b.send(p)
		}, nil},
		{"clock jumps ahead", func(b *bench, p *phone, n int) {
			if n == 250 {
				p.timestamp += 1 << 30
			}
			b.send(p)
		}, nil},
		{"clock jumps back", func(b *bench, p *phone, n int) {
			if n == 250 {
				p.timestamp -= 80000
			}
			b.send(p)
		}, nil},
		{"starts anew", func(b *bench, p *phone, n int) {
			if n == 250 {
				p.sequence -= 1000
			}
			b.send(p)
		}, nil},
		{"clock stands still on hold", func(b *bench, p *phone, n int) {
			if n < 100 || n >= 300 {
				b.send(p)
			}
		}, func(t *testing.T, left []int16, _ streamEntry) {
			wantSilence(t, "hold", span(left, 2100*time.Millisecond, 5900*time.Millisecond))
		}},
		{"first packet late", func(b *bench, p *phone, n int) {
			if n == 0 {
				return
			}
			if n == 10 { // 200 ms: all that was held up comes at once
				for range 10 {
					b.send(p)
				}
			}
			if n >= 10 {
				b.send(p)
			}
		}, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			dir := t.TempDir()
			inBench(t, dir, nil, func(b *bench) {
				left, right := b.phone(caller, 440), b.phone(callee, 1000)
				for n := range int(length / (20 * time.Millisecond)) {
					row.each(b, left, n)
					b.send(right)
					time.Sleep(20 * time.Millisecond)
				}
			})
			left, right := readWAV(t, only(t, dir, ".wav"))
			if got := time.Duration(len(left)) * time.Second / 8000; (got - length).Abs() > 40*time.Millisecond {
				t.Errorf("got %v, want %v", got, length)
			}
			wantTone(t, "right", right, 1000)
			wantTone(t, "left at the end", span(left, length-time.Second, length-40*time.Millisecond), 440)
			if row.check != nil {
				row.check(t, left, readCard(t, dir).Streams[0])
			}
		})
	}
}

// TestClocksThatDrift has a side whose clock is 1 % fast, which no crystal is: after a minute it would be 600 ms off.
func TestClocksThatDrift(t *testing.T) {
	dir := t.TempDir()
	const length = time.Minute
	inBench(t, dir, nil, func(b *bench) {
		left, right := b.phone(caller, 440), b.phone(callee, 1000)
		next := time.Duration(0)
		for b.age() < length {
			for ; next <= b.age(); next += 19800 * time.Microsecond {
				b.send(left)
			}
			b.send(right)
			time.Sleep(20 * time.Millisecond)
		}
		// Both fall silent at once.
		time.Sleep(time.Second)
	})
	left, right := readWAV(t, only(t, dir, ".wav"))
	if l, r := lastSound(left), lastSound(right); (l - r).Abs() > 40*time.Millisecond {
		t.Errorf("left ends at %v and right at %v, want no more than 40 ms between", l, r)
	}
}

func lastSound(pcm []int16) time.Duration {
	for i := len(pcm) - 1; i >= 0; i-- {
		if pcm[i] > 1000 || pcm[i] < -1000 {
			return time.Duration(i) * time.Second / 8000
		}
	}
	return 0
}

func TestCodecChangeBeginsAnotherFile(t *testing.T) {
	dir := t.TempDir()
	inBench(t, dir, nil, func(b *bench) {
		left := b.phone(caller, 440)
		b.talk(time.Second, left)
		for n := range 100 {
			b.tap.Packet(callee, b.age(), rtpPacket(111, 5, uint16(n), uint32(n*960), false, []byte{0xf8, 0xff, 0xfe}))
			time.Sleep(20 * time.Millisecond)
		}
	})
	left, _ := readWAV(t, only(t, dir, ".wav"))
	if got := time.Duration(len(left)) * time.Second / 8000; got != time.Second {
		t.Errorf("got a WAV of %v, want 1s", got)
	}
	s := readCard(t, dir)
	if len(s.Files) != 2 {
		t.Fatalf("got files %+v, want two", s.Files)
	}
	for _, f := range s.Files {
		if f.Format == "ogg/opus" && (f.Offset < 980 || f.Offset > 1020 || f.Duration < 1980 || f.Duration > 2020) {
			t.Errorf("got %+v, want 2 s after 1 s", f)
		}
	}
	only(t, dir, ".ogg")
}

// TestLongPause has nobody write hours of silence.
func TestLongPause(t *testing.T) {
	for _, opus := range []bool{false, true} {
		dir := t.TempDir()
		inBench(t, dir, nil, func(b *bench) {
			left, n := b.phone(caller, 440), 0
			for range 2 {
				for range 100 {
					if n++; opus {
						b.tap.Packet(callee, b.age(), rtpPacket(111, 5, uint16(n), uint32(n*960), false, []byte{0xf8, 0xff, 0xfe}))
					} else {
						b.send(left)
					}
					time.Sleep(20 * time.Millisecond)
				}
				time.Sleep(time.Hour)
			}
		})
		s := readCard(t, dir)
		if len(s.Files) != 2 {
			t.Fatalf("opus %t: got files %+v, want two", opus, s.Files)
		}
		for i, f := range s.Files {
			if want := int64(i) * 3602000; f.Offset < want || f.Offset > want+40 || f.Duration > 3000 || f.Duration < 1900 {
				t.Errorf("opus %t: got %+v, want 2 s after %d ms", opus, f, want)
			}
		}
	}
}

func TestNamesStayInTheFolder(t *testing.T) {
	dir := t.TempDir()
	for _, id := range []string{"../../etc/passwd", "a\x00b", "/abs", "..", "", "ü\n$(rm)", string(make([]byte, 4000))} {
		name := baseName(time.Now(), id) + ".json"
		if filepath.Base(name) != name || !ours.MatchString(name) || len(name) > 120 {
			t.Errorf("id %q gives %q", id[:min(20, len(id))], name)
		}
	}
	inBench(t, dir, nil, func(b *bench) { b.talk(time.Second, b.phone(caller, 440)) })
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		info, err := f.Info()
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != 0o600 || !ours.MatchString(f.Name()) {
			t.Errorf("got %s with mode %v, want one of ours with 0600", f.Name(), info.Mode())
		}
	}
}

func TestFolderOfOneUser(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	f, err := openFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.root.Close() }()
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o700 {
		t.Errorf("got mode %v, want 0700", info.Mode())
	}
	outside := filepath.Join(t.TempDir(), "target")
	if err := os.Symlink(outside, filepath.Join(dir, "x.wav")); err != nil {
		t.Fatal(err)
	}
	if _, err := f.create("x.wav"); err == nil {
		t.Error("a symbolic link was followed")
	}
	if _, err := f.create("../x.wav"); err == nil {
		t.Error("a file outside was made")
	}
	if _, err := os.Stat(outside); !os.IsNotExist(err) {
		t.Error("the target of the link exists")
	}
}

func TestKeyframeIsAskedFor(t *testing.T) {
	asked := 0
	dir := t.TempDir()
	inBench(t, dir, nil, func(b *bench) {
		b.rec.call.Keyframe = func(stream int, side offeranswer.Side) {
			if stream != 3 || side != callee {
				t.Errorf("got stream %d of the %s, want 3 of the callee", stream, side)
			}
			asked++
		}
		video := b.rec.Tap(3, true)
		video.SetFormats(callee, []offeranswer.Format{{PayloadType: 96, Codec: "VP8", ClockRate: 90000}})
		// Pictures that are no key frames, 25 a second for five seconds.
		for n := range 125 {
			video.Packet(callee, b.age(), rtpPacket(96, 5, uint16(n), uint32(n*3600), true, []byte{0x10, 0x01, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10}))
			time.Sleep(40 * time.Millisecond)
		}
	})
	if asked < 2 || asked > 3 {
		t.Errorf("asked %d times in 5 s, want every two seconds", asked)
	}
	if found := names(t, dir, ".webm"); found != nil {
		t.Errorf("got %v of pictures that nobody can decode", found)
	}
}
