//go:build integration

package testpeer

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"

	"webrtc2sip/internal/offeranswer"
	"webrtc2sip/internal/recording"
)

// ffmpeg runs the program and returns what it writes to its standard output.
func ffmpeg(t *testing.T, args ...string) []byte {
	t.Helper()
	return tool(t, "ffmpeg", append([]string{"-hide_banner", "-loglevel", "error", "-nostdin", "-y"}, args...)...)
}

// strictly runs ffmpeg so that it says what is odd about its input, which fails the test.
func strictly(t *testing.T, args ...string) []byte {
	t.Helper()
	return ffmpeg(t, append([]string{"-loglevel", "warning"}, args...)...)
}

// tool runs a program to its end. Whatever it says is wrong with its input fails the test.
func tool(t *testing.T, program string, args ...string) []byte {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), 2*time.Minute)
	defer stop()
	c := exec.CommandContext(ctx, Require(t, program), args...)
	var out, complaints bytes.Buffer
	c.Stdout, c.Stderr = &out, &complaints
	if err := c.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, complaints.String())
	}
	if program == "ffmpeg" && complaints.Len() > 0 {
		t.Errorf("ffmpeg %s says\n%s", strings.Join(args, " "), complaints.String())
	}
	return out.Bytes()
}

// opusPackets encodes a tone that lasts a time, with the encoder options given.
func opusPackets(t *testing.T, frequency float64, length time.Duration, options ...string) [][]byte {
	t.Helper()
	args := []string{"-f", "lavfi", "-i", fmt.Sprintf("sine=frequency=%g:sample_rate=48000:duration=%g", frequency, length.Seconds())}
	args = append(append(args, "-c:a", "libopus"), options...)
	return oggPackets(t, ffmpeg(t, append(args, "-f", "ogg", "-")...))[2:]
}

// oggPackets takes an Ogg file of one stream apart (RFC 3533).
func oggPackets(t *testing.T, file []byte) (packets [][]byte) {
	t.Helper()
	var under []byte
	for len(file) >= 27 {
		if string(file[:4]) != "OggS" {
			t.Fatal("not an Ogg page")
		}
		table := file[27 : 27+int(file[26])]
		file = file[27+int(file[26]):]
		for _, n := range table {
			under = append(under, file[:n]...)
			file = file[n:]
			if n < 255 {
				packets = append(packets, under)
				under = nil
			}
		}
	}
	return packets
}

// ivfFrames takes an IVF file apart.
func ivfFrames(file []byte) (frames [][]byte) {
	for file = file[32:]; len(file) >= 12; {
		n := binary.LittleEndian.Uint32(file)
		frames = append(frames, file[12:12+n])
		file = file[12+n:]
	}
	return frames
}

// a speaker sends packets of one kind to a tap.
type speaker struct {
	tap         *recording.Tap
	side        offeranswer.Side
	payloadType uint8
	packets     [][]byte
	every       time.Duration
	clock       uint32 // RTP units a packet
	begins      time.Duration
	payloader   rtp.Payloader // nil: packets are payloads
}

// play sends what the speakers have to say, in fake time.
func play(began time.Time, speakers ...speaker) {
	type state struct {
		sequence uint16
		next     int
	}
	states := make([]state, len(speakers))
	for i := range states {
		states[i].sequence = uint16(65500 + 100*i) // wraps
	}
	for {
		var at time.Duration = math.MaxInt64
		who := -1
		for i, s := range speakers {
			if due := s.begins + time.Duration(states[i].next)*s.every; states[i].next < len(s.packets) && due < at {
				at, who = due, i
			}
		}
		if who < 0 {
			return
		}
		time.Sleep(time.Until(began.Add(at)))
		s, state := &speakers[who], &states[who]
		payloads := [][]byte{s.packets[state.next]}
		if s.payloader != nil {
			payloads = s.payloader.Payload(1200, payloads[0])
		}
		for i, payload := range payloads {
			state.sequence++
			p := rtp.Packet{Header: rtp.Header{
				Version: 2, PayloadType: s.payloadType, SequenceNumber: state.sequence, SSRC: uint32(who + 1),
				Timestamp: uint32(7919*who) + uint32(state.next)*s.clock, Marker: i == len(payloads)-1,
			}, Payload: payload}
			raw, _ := p.Marshal()
			s.tap.Packet(s.side, at, raw)
		}
		state.next++
	}
}

// recorded lets a recorder of a fresh folder record what speak says, and returns the files by their endings.
func recorded(t *testing.T, speak func(rec *recording.Recording, began time.Time)) map[string]string {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r, err := recording.New(recording.Config{Folder: dir})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		rec, err := r.Start(recording.Call{ID: "c1", Began: began, Caller: "sip:a@example.org"})
		if err != nil {
			t.Fatal(err)
		}
		speak(rec, began)
		rec.Stop("BYE")
		<-rec.Done()
	})
	files := make(map[string]string)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		files[filepath.Ext(e.Name())] = filepath.Join(dir, e.Name())
	}
	return files
}

var opusFormat = offeranswer.Format{PayloadType: 111, Codec: "opus", ClockRate: 48000, Channels: 2}

// decoded returns the two channels of a file at 8 kHz.
func decoded(t *testing.T, file string, decoder ...string) (left, right []int16) {
	t.Helper()
	args := append(decoder, "-i", file, "-map", "0:a:0", "-ar", "8000", "-f", "s16le", "-c:a", "pcm_s16le", "-")
	pcm := strictly(t, args...)
	for ; len(pcm) >= 4; pcm = pcm[4:] {
		left = append(left, int16(binary.LittleEndian.Uint16(pcm)))
		right = append(right, int16(binary.LittleEndian.Uint16(pcm[2:])))
	}
	return left, right
}

// onset is when sound begins.
func onset(pcm []int16) time.Duration {
	for i, s := range pcm {
		if s > 500 || s < -500 {
			return time.Duration(i) * time.Second / 8000
		}
	}
	return -1
}

// between cuts out of samples at 8 kHz.
func between(pcm []int16, from, to time.Duration) []int16 {
	at := func(d time.Duration) int { return min(len(pcm), int(d*8000/time.Second)) }
	return pcm[at(from):at(to)]
}

func wantTone(t *testing.T, what string, pcm []int16, frequency float64) {
	t.Helper()
	if got, share := Tone(pcm, 8000, 300, 440, 700, 1000); got != frequency || share < 0.8 {
		t.Errorf("%s: got %g Hz with %.2f of the energy, want %g", what, got, share, frequency)
	}
}

// TestIntegrationRecordingOpus records Opus from both sides, in all shapes that calls have, and has two decoders
// that are not ours play it: the right tone is in the right channel at the right time.
func TestIntegrationRecordingOpus(t *testing.T) {
	const length = 4 * time.Second
	for _, row := range []struct {
		name        string
		left, right []string
		leftEvery   time.Duration
		rightEvery  time.Duration
	}{
		{"mono 20 ms", nil, nil, 20 * time.Millisecond, 20 * time.Millisecond},
		{"stereo frames", []string{"-ac", "2"}, nil, 20 * time.Millisecond, 20 * time.Millisecond},
		{"60 and 20 ms", []string{"-frame_duration", "60"}, nil, 60 * time.Millisecond, 20 * time.Millisecond},
		{
			"SILK of 60 and hybrid of 20 ms",
			[]string{"-application", "voip", "-b:a", "12k", "-frame_duration", "60"},
			[]string{"-application", "voip", "-b:a", "28k"},
			60 * time.Millisecond, 20 * time.Millisecond,
		},
		{"10 and 40 ms", []string{"-frame_duration", "10"}, []string{"-frame_duration", "40"}, 10 * time.Millisecond, 40 * time.Millisecond},
		{"2.5 and 20 ms", []string{"-application", "lowdelay", "-frame_duration", "2.5"}, nil, 2500 * time.Microsecond, 20 * time.Millisecond},
	} {
		t.Run(row.name, func(t *testing.T) {
			left := opusPackets(t, 440, length, row.left...)
			right := opusPackets(t, 1000, length-time.Second, row.right...)
			files := recorded(t, func(rec *recording.Recording, began time.Time) {
				tap := rec.Tap(0, false)
				tap.SetFormats(offeranswer.Caller, []offeranswer.Format{opusFormat})
				tap.SetFormats(offeranswer.Callee, []offeranswer.Format{opusFormat})
				play(began, speaker{
					tap: tap, side: offeranswer.Caller, payloadType: 111, packets: left, every: row.leftEvery,
					clock: uint32(row.leftEvery * 48000 / time.Second),
				}, speaker{
					tap: tap, side: offeranswer.Callee, payloadType: 111, packets: right, every: row.rightEvery,
					clock: uint32(row.rightEvery * 48000 / time.Second), begins: time.Second,
				})
			})
			for _, decoder := range []string{"opus", "libopus"} {
				l, r := decoded(t, files[".ogg"], "-c:a", decoder)
				wantTone(t, decoder+" left", between(l, time.Second/2, 3*time.Second), 440)
				wantTone(t, decoder+" right", between(r, 3*time.Second/2, 3*time.Second), 1000)
				if at := onset(l); at < 0 || at > 40*time.Millisecond {
					t.Errorf("%s: left begins at %v, want 0", decoder, at)
				}
				if at := onset(r); (at - time.Second).Abs() > 40*time.Millisecond {
					t.Errorf("%s: right begins at %v, want 1s", decoder, at)
				}
			}
			out := filepath.Join(t.TempDir(), "out.wav")
			tool(t, "opusdec", "--quiet", "--force-wav", "--rate", "48000", files[".ogg"], out)
			l, r := decoded(t, out, "-loglevel", "error")
			wantTone(t, "opusdec left", between(l, time.Second/2, 3*time.Second), 440)
			wantTone(t, "opusdec right", between(r, 3*time.Second/2, 3*time.Second), 1000)
		})
	}
}

// TestIntegrationRecordingVideo records the pictures of both sides with their sound, and has ffmpeg decode all of it.
func TestIntegrationRecordingVideo(t *testing.T) {
	for _, row := range []struct {
		name, codec, ending string
		encoder             []string
		format              string
		payloader           func() rtp.Payloader
	}{
		{"VP8", "VP8", ".webm", []string{"-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8"}, "ivf", func() rtp.Payloader { return &codecs.VP8Payloader{EnablePictureID: true} }},
		{"VP9", "VP9", ".webm", []string{"-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8"}, "ivf", func() rtp.Payloader { return &codecs.VP9Payloader{FlexibleMode: true} }},
		{"AV1", "AV1", ".webm", []string{"-c:v", "libaom-av1", "-usage", "realtime", "-cpu-used", "8"}, "ivf", func() rtp.Payloader { return &codecs.AV1Payloader{} }},
		{"H264", "H264", ".mkv", []string{"-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-x264-params", "slices=1:sliced-threads=0", "-pix_fmt", "yuv420p"}, "h264", func() rtp.Payloader { return &codecs.H264Payloader{} }},
	} {
		t.Run(row.name, func(t *testing.T) {
			const rate, frames = 25, 75
			film := func(size string) [][]byte {
				args := append([]string{"-f", "lavfi", "-i", fmt.Sprintf("testsrc=size=%s:rate=%d", size, rate), "-frames:v", fmt.Sprint(frames)}, row.encoder...)
				raw := ffmpeg(t, append(args, "-g", "25", "-b:v", "500k", "-f", row.format, "-")...)
				if row.format == "ivf" {
					return ivfFrames(raw)
				}
				return accessUnits(raw)
			}
			caller, callee := film("320x240"), film("160x128")
			sound := opusPackets(t, 440, 3*time.Second)
			files := recorded(t, func(rec *recording.Recording, began time.Time) {
				audio, video := rec.Tap(0, false), rec.Tap(1, true)
				for _, side := range []offeranswer.Side{offeranswer.Caller, offeranswer.Callee} {
					audio.SetFormats(side, []offeranswer.Format{opusFormat})
					video.SetFormats(side, []offeranswer.Format{{PayloadType: 96, Codec: row.codec, ClockRate: 90000}})
				}
				play(began, speaker{tap: audio, payloadType: 111, packets: sound, every: 20 * time.Millisecond, clock: 960},
					speaker{tap: video, payloadType: 96, packets: caller, every: time.Second / rate, clock: 90000 / rate, payloader: row.payloader()},
					speaker{tap: video, side: offeranswer.Callee, payloadType: 96, packets: callee, every: time.Second / rate, clock: 90000 / rate, payloader: row.payloader()})
			})
			file := files[row.ending]
			if file == "" {
				t.Fatalf("got files %v, want one with %s", files, row.ending)
			}
			probe := string(tool(t, "ffprobe", "-v", "error", "-count_frames", "-of", "csv=p=0",
				"-show_entries", "stream=codec_name,width,height,nb_read_frames", "-select_streams", "v", file))
			name := strings.ToLower(row.codec)
			want := fmt.Sprintf("%s,320,240,%d\n%s,160,128,%d\n", name, frames, name, frames)
			if probe != want {
				t.Errorf("got tracks\n%swant\n%s", probe, want)
			}
			strictly(t, "-i", file, "-map", "0", "-f", "null", "-")
			left, right := decoded(t, file)
			wantTone(t, "left", between(left, time.Second/2, 5*time.Second/2), 440)
			if at := onset(right); at >= 0 {
				t.Errorf("right has sound at %v, want none", at)
			}
		})
	}
}

// accessUnits takes an Annex B stream with access unit delimiters or one slice a picture apart.
func accessUnits(raw []byte) (units [][]byte) {
	var unit []byte
	for nal := range bytes.SplitSeq(raw, []byte{0, 0, 1}) {
		nal = bytes.TrimRight(nal, "\x00")
		if len(nal) == 0 {
			continue
		}
		unit = append(append(unit, 0, 0, 0, 1), nal...)
		if kind := nal[0] & 0x1f; kind == 1 || kind == 5 {
			units = append(units, unit)
			unit = nil
		}
	}
	return units
}
