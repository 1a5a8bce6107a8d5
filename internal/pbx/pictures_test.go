package pbx

import (
	"encoding/binary"
	"fmt"
	"testing"

	"webrtc2sip/internal/offeranswer"
)

// The echo sends pictures back, too, whatever encodes them, and who asks it for a
// keyframe is asked for one.
func TestEchoOfPictures(t *testing.T) {
	p, _ := startPBX(t, nil)
	u, ph, camera, control := newUA(t, p, "1000"), newPhone(t), newPhone(t), newPhone(t)
	lines := ph.sdp("sendrecv", "0 PCMU/8000")
	video := fmt.Sprintf("m=video %d RTP/AVPF 97 96\r\na=rtpmap:97 rtx/90000\r\na=rtpmap:96 VP8/90000\r\na=rtcp:%d\r\n", camera.port(), control.port())
	o := u.invite("sip:600@"+realm, lines+video+"m=video 9 RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\n")
	ok := o.established("")
	ph.audio(ok)
	d, err := offeranswer.Parse(ok.Body())
	if err != nil {
		t.Fatal(err)
	}
	if len(d.Media) != 3 || !d.Media[1].Active() || d.Media[1].Formats[0].PayloadType != 96 || d.Media[1].Proto != "RTP/AVPF" || d.Media[2].Active() {
		t.Fatalf("answer\n%s", ok.Body())
	}
	camera.to, control.to = d.Media[1].RTP(), d.Media[1].RTCP()
	camera.send(96, []byte("picture"))
	if got := camera.receive(patient); len(got) != 19 || got[1] != 96 {
		t.Errorf("got % x", got)
	}
	ph.send(0, []byte("sound"))
	if got := ph.receive(patient); len(got) != 17 {
		t.Errorf("got % x", got)
	}
	report := []byte{0x80, 201, 0, 1, 0, 0, 0, 1, 0x81, 206, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2}
	for _, raw := range [][]byte{report[:8], report} { // the first asks for nothing
		if _, err := control.conn.WriteToUDPAddrPort(raw, control.to); err != nil {
			t.Fatal(err)
		}
	}
	got := control.receive(patient)
	if len(got) != 20 || got[9] != 206 || binary.BigEndian.Uint32(got[16:]) != 0x11223344 {
		t.Errorf("request for a keyframe: got % x", got)
	}
	o.bye()
	ended(t, p)
}
