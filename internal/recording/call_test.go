package recording

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"webrtc2sip/internal/offeranswer"
)

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

// TestReoffers has a call whose session timer repeats the offer now and then: the sound goes on, in one file.
func TestReoffers(t *testing.T) {
	dir := t.TempDir()
	inBench(t, dir, nil, func(b *bench) {
		left := b.phone(caller, 440)
		for range 2 * maxCodecs {
			b.talk(400*time.Millisecond, left) // so that each meaning is used
			b.tap.SetFormats(caller, []offeranswer.Format{pcmu, pcma, opus})
		}
	})
	left, _ := readWAV(t, only(t, dir, ".wav"))
	wantTone(t, "left", left, 440)
	wantTone(t, "left at the end", left[len(left)/2:], 440)
	if s := readCard(t, dir).Streams[0]; s.Malformed != 0 || len(left) != 2*maxCodecs*3200 {
		t.Errorf("got %d samples, %d packets malformed", len(left), s.Malformed)
	}
}

// TestUnknownCodec says what it cannot write.
func TestUnknownCodec(t *testing.T) {
	dir := t.TempDir()
	inBench(t, dir, nil, func(b *bench) {
		b.tap.SetFormats(caller, []offeranswer.Format{
			{PayloadType: 9, Codec: "G722", ClockRate: 8000, Channels: 1},
			{PayloadType: 101, Codec: "telephone-event", ClockRate: 8000, Channels: 1},
			{PayloadType: 13, Codec: "CN", ClockRate: 8000, Channels: 1},
		})
		for n := range 50 {
			b.tap.Packet(caller, b.age(), rtpPacket(9, 5, uint16(n), uint32(n*160), false, make([]byte, 160)))
			b.tap.Packet(caller, b.age(), rtpPacket(101, 5, uint16(n), uint32(n*160), false, make([]byte, 4)))
			b.tap.Packet(caller, b.age(), rtpPacket(13, 5, uint16(n), uint32(n*160), false, make([]byte, 1)))
			time.Sleep(20 * time.Millisecond)
		}
	})
	if s := readCard(t, dir); len(s.Events) != 1 || s.Events[0].Event != "not recorded: g722" || len(s.Files) != 0 {
		t.Errorf("got events %+v and files %+v", s.Events, s.Files)
	}
}

// TestRedundantSound takes the newest block of RED (RFC 2198), and does not take digits between the packets for losses.
func TestRedundantSound(t *testing.T) {
	dir := t.TempDir()
	inBench(t, dir, nil, func(b *bench) {
		b.tap.SetFormats(caller, []offeranswer.Format{
			{PayloadType: 63, Codec: "red", ClockRate: 8000, Channels: 1},
			{PayloadType: 101, Codec: "telephone-event", ClockRate: 8000, Channels: 1},
		})
		left := b.phone(caller, 440)
		before := make([]byte, 160)
		for range 100 {
			p := left.packet()
			// One repetition, 160 units back and 160 octets long, and the sound itself.
			red := append([]byte{0x80, 160 >> 6, 160&0x3f<<2 | 160>>8, 160, 0}, before...)
			before = p[12:]
			b.tap.Packet(caller, b.age(), rtpPacket(63, left.ssrc, left.sequence-1, left.timestamp-160, false, append(red, before...)))
			b.tap.Packet(caller, b.age(), rtpPacket(101, left.ssrc, left.sequence, left.timestamp, false, make([]byte, 4)))
			left.sequence++
			time.Sleep(20 * time.Millisecond)
		}
	})
	left, _ := readWAV(t, only(t, dir, ".wav"))
	wantTone(t, "left", left, 440)
	if s := readCard(t, dir).Streams[0]; s.Lost != 0 || s.Packets != 100 || len(s.Codecs) != 1 || s.Codecs[0] != "pcmu" {
		t.Errorf("got %+v, want 100 packets of pcmu and none lost", s)
	}
}

// TestPicturesThatLackAPacket are left out with all up to the next key frame, which is asked for.
func TestPicturesThatLackAPacket(t *testing.T) {
	asked, dir := 0, t.TempDir()
	inBench(t, dir, nil, func(b *bench) {
		b.rec.call.Keyframe = func(int, offeranswer.Side) { asked++ }
		video := b.rec.Tap(1, true)
		video.SetFormats(caller, []offeranswer.Format{{PayloadType: 96, Codec: "VP8", ClockRate: 90000}})
		sequence := uint16(65500)
		for n := range 100 { // a key frame every 25; each of three packets
			first := []byte{0x10, 0x01, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8}
			if n%25 == 0 {
				first = []byte{0x10, 0x10, 0, 0, 0x9d, 0x01, 0x2a, 64, 0, 48, 0, 1}
			}
			for i, payload := range [][]byte{first, {0, byte(n)}, {0, byte(n)}} {
				if sequence++; n == 30 && i == 2 || n == 60 && i == 0 {
					continue
				}
				video.Packet(caller, b.age(), rtpPacket(96, 5, sequence, uint32(n*3600), i == 2, payload))
			}
			time.Sleep(40 * time.Millisecond)
		}
	})
	file, err := os.ReadFile(only(t, dir, ".webm"))
	if err != nil {
		t.Fatal(err)
	}
	// Of four groups of 25 the second and third end early: after 5 and after 10.
	if got := bytes.Count(file, []byte{0xa3, 0x80 + 4 + 13}); got != 25+5+10+25 {
		t.Errorf("got %d pictures, want 65", got)
	}
	if s := readCard(t, dir).Streams[0]; asked == 0 || s.Lost != 2 {
		t.Errorf("asked %d times, %d packets lost; want a request and two", asked, s.Lost)
	}
}

// hoarder is an unpacker that keeps all that it gets, as those of fragments do as long as no end comes.
type hoarder struct{ kept, most int }

func (h *hoarder) unpack(payload []byte) ([]byte, error) {
	h.kept += len(payload)
	h.most = max(h.most, h.kept)
	return nil, nil
}
func (h *hoarder) reset()                    { h.kept = 0 }
func (h *hoarder) look([]byte) (shape, bool) { return shape{}, false }

// TestEndlessFragments has a sender who begins units and never ends them.
func TestEndlessFragments(t *testing.T) {
	for name, pictures := range map[string]int64{"one picture": 0, "many pictures": 1} {
		h := &hoarder{}
		v := &sight{ask: func() {}}
		c := &codec{name: "h264", rate: 90000, video: func(string) unpacker { return h }}
		payload := make([]byte, 1200)
		for n := range int64(4 * maxPicture / len(payload)) {
			v.take(&queued{position: n / 8 * 3000 * pictures, sequence: n, codec: c, payload: payload}, false, 0, func(picture) {})
		}
		limit := maxPicture
		if pictures > 0 {
			limit = 8 * len(payload)
		}
		if h.most > limit {
			t.Errorf("%s: %d octets kept, want at most %d", name, h.most, limit)
		}
	}
}

// TestLiesAboutTime has packets that were overtaken claim any time: they must not hold up those behind them.
func TestLiesAboutTime(t *testing.T) {
	dir := t.TempDir()
	inBench(t, dir, nil, func(b *bench) {
		left := b.phone(caller, 440)
		for n := range 500 {
			b.send(left)
			if n%10 == 5 {
				left.sequence += 2 // leaves room for the one that lies
				b.send(left)
				b.tap.Packet(caller, b.age(), rtpPacket(0, left.ssrc, left.sequence-2, left.timestamp+uint32(n)<<20, false, make([]byte, 160)))
			}
			time.Sleep(20 * time.Millisecond)
		}
	})
	left, _ := readWAV(t, only(t, dir, ".wav"))
	if got := time.Duration(len(left)) * time.Second / 8000; (got - 10*time.Second).Abs() > time.Second {
		t.Errorf("got %v of a call of 10 s", got)
	}
	wantTone(t, "the end", span(left, 9700*time.Millisecond, 9780*time.Millisecond), 440)
	if s := readCard(t, dir).Streams[0]; s.Malformed == 0 || s.Late > 0 {
		t.Errorf("got %+v, want lies found out and nothing late", s)
	}
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
