package breaker

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"webrtc2sip/internal/offeranswer"
)

// A phone with SRTP and AVPF that has no RTX gets a packet that it has missed once
// more, octet by octet as it left: another encryption under the same number would
// give both away (RFC 3711 §9.1).
func TestLossTowardsAPhoneWithKeys(t *testing.T) {
	for _, suite := range []offeranswer.Suite{offeranswer.AESCM80, offeranswer.AESGCM128} {
		t.Run(suite.String(), func(t *testing.T) {
			t.Parallel()
			web, camera := newBrowser(t), newArmoured(t, loopback, "RTP/SAVPF", &armour{t: t, suites: []offeranswer.Suite{suite}})
			c := &pictures{setup: newSetup(t, start(t, Config{HistoryPackets: [2]int{100, 400}}), web, camera), web: web, camera: camera}
			c.toward(offeranswer.Callee, offeranswer.SDES, offeranswer.Security{Mode: offeranswer.SecurityMandatory, SDES: true, Feedback: true})
			camera.armour.answer()
			answer := fmt.Appendf(nil, "v=0\r\no=phone 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"+
				"m=video %d RTP/SAVPF 98\r\na=rtpmap:98 VP8/90000\r\na=rtcp-fb:98 nack\r\n%s", camera.addr().Port(), camera.armour.describe())
			toPhone, toWeb := c.exchangeText(offeranswer.Caller,
				web.webSDP("actpass", mline{kind: "video", formats: vp8RTX + midLine, mid: "v", ssrc: webVideoSSRC}), answer)
			web.connect(toWeb.Marshal())
			c.aim(toPhone)
			camera.armour.connect(camera, &toPhone.Media[0])
			c.fromWeb("pictures", webVideoSSRC, 96, camera)

			sealed := make(chan []byte, 256)
			camera.armour.mu.Lock()
			first := true
			camera.armour.lost = func(p []byte) bool {
				if p[1]&0x7f != 98 {
					return false
				}
				deliver(sealed, bytes.Clone(p))
				lost := first
				first = false
				return lost
			}
			camera.armour.mu.Unlock()
			came := c.repeatedTo(camera, sealed)
			for _, again := range came[1:] {
				if !bytes.Equal(again, came[0]) {
					t.Errorf("left as\n%x and as\n%x", came[0], again)
				}
			}
		})
	}
}

// repeatedTo sends pictures of which the phone loses the first, and asks for that
// until it has come again, and been opened. It returns the octets in which it came.
func (c *pictures) repeatedTo(camera *phone, sealed <-chan []byte) (came [][]byte) {
	c.t.Helper()
	deadline := time.After(wait)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var lost uint16
	var opened *rtp.Packet
	for opened == nil || len(came) < 2 {
		select {
		case p := <-sealed:
			if n := binary.BigEndian.Uint16(p[2:]); len(came) == 0 || n == lost {
				came, lost = append(came, p), n
			}
		case p := <-camera.received:
			if len(came) > 0 && p.SequenceNumber == lost {
				opened = p
			}
		case <-tick.C:
			c.web.send(c.packet(webVideoSSRC, 96, "a picture"))
			if len(came) == 0 {
				continue
			}
			raw, err := rtcp.Marshal([]rtcp.Packet{&rtcp.ReceiverReport{SSRC: camera.ssrc}, &rtcp.TransportLayerNack{
				SenderSSRC: camera.ssrc, MediaSSRC: c.figures(offeranswer.Callee).OurSSRC, Nacks: []rtcp.NackPair{{PacketID: lost}},
			}})
			if err != nil {
				c.t.Fatal(err)
			}
			camera.sendReport(append(make([]byte, 0, 128), raw...))
		case <-deadline:
			c.t.Fatalf("%d came again, opened: %v", len(came)-1, opened)
		}
	}
	return came
}
