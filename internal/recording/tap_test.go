package recording

import (
	"testing"
	"time"

	"webrtc2sip/internal/offeranswer"
)

// benchTap is a tap that nobody drains but the test.
func benchTap(tb testing.TB) *Tap {
	r := newRecorder(Config{}, nil)
	rec := newRecording(r, Call{ID: "x"})
	tap := rec.Tap(0, false)
	tap.SetFormats(caller, []offeranswer.Format{pcmu})
	return tap
}

func TestTapAllocatesNothing(t *testing.T) {
	tap, packet := benchTap(t), make([]byte, 172)
	if got := testing.AllocsPerRun(1000, func() { tap.Packet(caller, time.Second, packet) }); got != 0 {
		t.Errorf("got %g allocations a packet, want none", got)
	}
	if tap.dropped.Load() == 0 {
		t.Error("a full ring drops nothing")
	}
}

// BenchmarkTap is what recording costs the loop for each packet.
func BenchmarkTap(b *testing.B) {
	for _, size := range []struct {
		name   string
		octets int
	}{{"Opus", 100}, {"PCMU", 172}, {"video", 1200}} {
		b.Run(size.name, func(b *testing.B) {
			tap, packet := benchTap(b), make([]byte, size.octets)
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				tap.Packet(caller, time.Second, packet)
				if n%40 == 39 {
					b.StopTimer()
					tap.ring.Take(func(uint8, time.Duration, []byte) {})
					b.StartTimer()
				}
			}
		})
	}
}

// BenchmarkRecording is what a recording costs its own goroutine for each packet, files included.
func BenchmarkRecording(b *testing.B) {
	for _, row := range []struct {
		name    string
		format  offeranswer.Format
		clock   uint32
		payload []byte
	}{
		{"PCMU", pcmu, 160, make([]byte, 160)},
		{"Opus", opus, 960, append([]byte{0x78}, make([]byte, 79)...)},
	} {
		b.Run(row.name, func(b *testing.B) {
			d, err := openFolder(b.TempDir())
			if err != nil {
				b.Fatal(err)
			}
			rec := newRecording(newRecorder(Config{}, d), Call{ID: "x"})
			tap := rec.Tap(0, false)
			tap.SetFormats(caller, []offeranswer.Format{row.format})
			tap.SetFormats(callee, []offeranswer.Format{row.format})
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				at := time.Duration(n/2) * 20 * time.Millisecond
				p := rtpPacket(row.format.PayloadType, uint32(n%2), uint16(n/2), uint32(n/2)*row.clock, false, row.payload)
				rec.receive(tap, uint8(n%2), at, p)
				if n%20 == 19 { // as every 200 ms
					rec.advance(at, at-hold)
				}
			}
			rec.Stop("end")
			rec.finish()
			if rec.failing || len(rec.entries) != 1 {
				b.Errorf("got files %+v and events %+v", rec.entries, rec.events)
			}
			b.ReportMetric(float64(rec.entries[0].Octets)/float64(b.N), "octets/op")
			if err := d.root.Close(); err != nil {
				b.Error(err)
			}
		})
	}
}
