package recording

import (
	"encoding/binary"
	"testing"
	"testing/synctest"
	"time"

	"webrtc2sip/internal/offeranswer"
)

// FuzzPackets feeds a recording whatever packets: each of the input's records is a length, a step of time, a side and
// stream, and the packet.
func FuzzPackets(f *testing.F) {
	record := func(step, where byte, p []byte) []byte {
		return append([]byte{byte(len(p)), step, where}, p...)
	}
	f.Add(record(20, 0, rtpPacket(0, 1, 1, 160, false, make([]byte, 160))))
	f.Add(append(record(20, 0, rtpPacket(111, 1, 65535, 960, false, []byte{0xf8, 0xff, 0xfe})),
		record(20, 1, rtpPacket(111, 1, 2, 1920, false, []byte{0xfb, 3, 1, 2, 3}))...))
	f.Add(record(40, 2, rtpPacket(96, 1, 1, 3600, true, []byte{0x10, 0, 0, 0, 0x9d, 1, 0x2a, 64, 1, 240, 0, 1, 2, 3})))
	f.Add(record(40, 3, rtpPacket(97, 1, 1, 3600, true, []byte{0x8c, 0x82, 0x49, 0x83, 0x42, 0, 0x13, 0xf0, 0x0e, 0xf0})))
	f.Add(record(40, 2, rtpPacket(98, 1, 1, 3600, true, []byte{24, 0, 4, 0x67, 66, 0, 30, 0, 4, 0x68, 1, 2, 3, 0, 2, 0x65, 1})))
	f.Add(record(40, 2, rtpPacket(99, 1, 1, 3600, true, []byte{0x18, 0x0a, 5, 0, 0, 0, 2, 0x3f})))
	formats := []offeranswer.Format{
		pcmu, pcma, opus,
		{PayloadType: 96, Codec: "VP8", ClockRate: 90000},
		{PayloadType: 97, Codec: "VP9", ClockRate: 90000},
		{PayloadType: 98, Codec: "H264", ClockRate: 90000, FMTP: "sprop-parameter-sets=Z0IAHg==,aM4BqA=="},
		{PayloadType: 99, Codec: "AV1", ClockRate: 90000},
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		dir := t.TempDir()
		synctest.Test(t, func(t *testing.T) {
			r, err := New(Config{Folder: dir})
			if err != nil {
				t.Fatal(err)
			}
			defer r.close(t)
			rec, err := r.Start(Call{ID: "x"})
			if err != nil {
				t.Fatal(err)
			}
			taps := [2]*Tap{rec.Tap(0, false), rec.Tap(1, true)}
			for _, tap := range taps {
				tap.SetFormats(caller, formats)
				tap.SetFormats(callee, formats)
			}
			began := time.Now()
			for len(in) >= 3 {
				size, step, where := int(in[0]), in[1], in[2]
				p := in[3:min(len(in), 3+size)]
				in = in[3+len(p):]
				taps[where>>1&1].Packet(offeranswer.Side(where&1), time.Since(began), p)
				time.Sleep(time.Duration(step) * time.Millisecond)
			}
			rec.Stop("x")
			<-rec.Done()
			checkFuzzed(t, r)
		})
	})
}

// checkFuzzed expects complete files, of a size that the input explains.
func checkFuzzed(t *testing.T, r *Recorder) {
	t.Helper()
	files, err := r.disk.list()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if baseOf(f.Name()) == "" || f.Size() > 32<<20 {
			t.Errorf("got %s of %d octets", f.Name(), f.Size())
		}
		if len(f.Name()) > len(part) && f.Name()[len(f.Name())-len(part):] == part {
			t.Errorf("%s is unfinished", f.Name())
		}
	}
}

// FuzzShapes reads pictures of every codec.
func FuzzShapes(f *testing.F) {
	f.Add([]byte{0x10, 0, 0, 0x9d, 1, 0x2a, 64, 1, 240, 0})
	f.Add([]byte{0x82, 0x49, 0x83, 0x42, 0, 0x13, 0xf0, 0x0e, 0xf0})
	f.Add([]byte{0x0a, 0x0b, 0, 0, 0, 2, 0x3f, 0xff, 0xff, 0x08, 0x40, 0x08, 0x40})
	sps := []byte{0x67, 0x42, 0xc0, 0x1e, 0xd9, 0x00, 0xa0, 0x47, 0xfe, 0xc8}
	f.Add(append(binary.BigEndian.AppendUint32(nil, uint32(len(sps))), sps...))
	f.Fuzz(func(t *testing.T, p []byte) {
		for name, unpacker := range unpackers {
			u := unpacker("")
			s, key := u.look(p)
			if key && (s.codec == "" || s.width <= 0 || s.height <= 0 || s.width > 1<<16 || s.height > 1<<16) {
				t.Errorf("%s: got %+v", name, s)
			}
			_, _ = u.unpack(p)
		}
	})
}
