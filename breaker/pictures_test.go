package breaker

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pion/rtp"

	"webrtc2sip/internal/offeranswer"
)

const (
	vp8Only    = "96\r\na=rtpmap:96 VP8/90000"
	vp8RTX     = "96 97\r\na=rtpmap:96 VP8/90000\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\na=rtcp-fb:96 nack\r\na=rtcp-fb:96 nack pli\r\na=rtcp-fb:96 ccm fir"
	phoneVideo = "98\r\na=rtpmap:98 VP8/90000"
	midLine    = "\r\na=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid"
)

// mline is one section that a test's party writes.
type mline struct {
	kind, formats string
	mid           string // a browser's
	direction     string // "": sendrecv
	refused       bool
	at            *phone // a phone's sockets of the section
	ssrc          uint32 // a browser's
}

// section writes the m= line and what all kinds of parties have.
func (m mline) section(proto string, port uint16) string {
	if m.kind == "application" {
		return fmt.Sprintf("m=application %d UDP/DTLS/SCTP webrtc-datachannel\r\na=sctp-port:5000\r\n", port)
	}
	types, attributes, _ := strings.Cut(m.formats, "\r\n")
	direction := m.direction
	if direction == "" {
		direction = "sendrecv"
	}
	if attributes != "" {
		attributes += "\r\n"
	}
	return fmt.Sprintf("m=%s %d %s %s\r\na=%s\r\n%s", m.kind, port, proto, types, direction, attributes)
}

// webSDP is a description of b with these sections.
func (b *browser) webSDP(setup string, lines ...mline) []byte {
	b.version++
	var text strings.Builder
	var group []string
	for _, m := range lines {
		port := uint16(9)
		if m.refused {
			port = 0
		} else {
			group = append(group, m.mid)
		}
		text.WriteString(m.section("UDP/TLS/RTP/SAVPF", port))
		fingerprint := offeranswer.NewFingerprint(b.cert.Certificate[0])
		fmt.Fprintf(&text, "c=IN IP4 0.0.0.0\r\na=mid:%s\r\na=ice-ufrag:%s\r\na=ice-pwd:%s\r\na=fingerprint:%s %s\r\na=setup:%s\r\na=rtcp-mux\r\n",
			m.mid, b.ufrag, b.pwd, fingerprint.Algorithm, fingerprint.Sum, setup)
		if m.ssrc != 0 {
			fmt.Fprintf(&text, "a=ssrc:%d cname:browser\r\n", m.ssrc)
		}
	}
	return fmt.Appendf(nil, "v=0\r\no=- 4711 %d IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE %s\r\n%s", b.version, strings.Join(group, " "), text.String())
}

// phoneSDP is a description of a phone with these sections.
func (p *phone) phoneSDP(lines ...mline) []byte {
	p.version++
	var text strings.Builder
	for _, m := range lines {
		port := uint16(0)
		if !m.refused {
			port = m.at.addr().Port()
		}
		text.WriteString(m.section("RTP/AVP", port))
	}
	return fmt.Appendf(nil, "v=0\r\no=phone 1 %d IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n%s", p.version, text.String())
}

// pictures is a call of a browser with a phone that has a camera: two streams.
type pictures struct {
	*setup
	web           *browser
	sound, camera *phone
	seq           uint16
}

const (
	webAudioSSRC = 0xa0d10
	webVideoSSRC = 0x71de0
)

func newPictures(t *testing.T, b *Breaker) *pictures {
	web, sound := newBrowser(t), newPhone(t)
	return &pictures{setup: newSetup(t, b, web, sound), web: web, sound: sound, camera: newPhone(t)}
}

func (c *pictures) webLines() []mline {
	return []mline{
		{kind: "audio", formats: opus + midLine, mid: "a", ssrc: webAudioSSRC},
		{kind: "video", formats: vp8RTX + midLine, mid: "v", ssrc: webVideoSSRC},
		{kind: "application", mid: "d"},
	}
}

func (c *pictures) phoneLines() []mline {
	return []mline{{kind: "audio", formats: pcmu, at: c.sound}, {kind: "video", formats: phoneVideo, at: c.camera}}
}

// exchangeText carries one offer and its answer as they are.
func (c *pictures) exchangeText(from offeranswer.Side, offer []byte, answer []byte) (toAnswerer, toOfferer *offeranswer.Description) {
	c.t.Helper()
	sent, err := c.b.Offer(c.t.Context(), c.id, from, offer, c.legs)
	if err != nil {
		c.t.Fatalf("Offer: %v", err)
	}
	made, err := c.b.Answer(c.t.Context(), c.id, from.Other(), answer)
	if err != nil {
		c.t.Fatalf("Answer: %v\nto\n%s", err, sent)
	}
	c.settle()
	return c.parse(sent), c.parse(made)
}

func (c *pictures) parse(text []byte) *offeranswer.Description {
	c.t.Helper()
	d, err := offeranswer.Parse(text)
	if err != nil {
		c.t.Fatalf("%v in\n%s", err, text)
	}
	return d
}

// begin sets the call up with both streams; the browser calls.
func (c *pictures) begin() (toPhone, toWeb *offeranswer.Description) {
	c.t.Helper()
	toPhone, toWeb = c.exchangeText(offeranswer.Caller, c.web.webSDP("actpass", c.webLines()...), c.sound.phoneSDP(c.phoneLines()...))
	c.web.connect(toWeb.Marshal())
	c.aim(toPhone)
	return toPhone, toWeb
}

// aim tells the phone's sockets where to send.
func (c *pictures) aim(toPhone *offeranswer.Description) {
	for _, m := range toPhone.Media {
		switch {
		case !m.Active():
		case m.Kind == "audio":
			c.sound.to = m.RTP()
		default:
			c.camera.to = m.RTP()
		}
	}
}

// packet makes one for a stream.
func (c *pictures) packet(ssrc uint32, pt uint8, payload string) *rtp.Packet {
	c.seq++
	return &rtp.Packet{
		Header:  rtp.Header{Version: 2, PayloadType: pt, SequenceNumber: c.seq, Timestamp: 160 * uint32(c.seq), SSRC: ssrc},
		Payload: []byte(payload),
	}
}

// passes sends until a packet arrives, and returns it.
func (c *pictures) passes(what string, send func(payload string), heard <-chan *rtp.Packet) *rtp.Packet {
	c.t.Helper()
	payload := fmt.Sprint(what, " ", c.seq)
	deadline := time.After(wait)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		send(payload)
		select {
		case p := <-heard:
			if string(p.Payload) == payload {
				return p
			}
		case <-tick.C:
		case <-deadline:
			c.t.Fatalf("%s does not arrive", what)
		}
	}
}

// fromWeb sends one stream of the browser to the phone's sockets.
func (c *pictures) fromWeb(what string, ssrc uint32, pt uint8, to *phone) *rtp.Packet {
	c.t.Helper()
	return c.passes(what, func(payload string) { c.web.send(c.packet(ssrc, pt, payload)) }, to.received)
}

func (c *pictures) toWeb(what string, from *phone, pt uint8) *rtp.Packet {
	c.t.Helper()
	return c.passes(what, func(payload string) { from.send(c.packet(from.ssrc, pt, payload)) }, c.web.received)
}

// allPass checks both streams both ways, and that each has its own SSRC and
// payload type.
func (c *pictures) allPass() {
	c.t.Helper()
	c.fromWeb("sound of the browser", webAudioSSRC, 0, c.sound)
	if p := c.fromWeb("pictures of the browser", webVideoSSRC, 96, c.camera); p.PayloadType != 98 {
		c.t.Errorf("pictures of the browser as %d, want 98", p.PayloadType)
	}
	sound := c.toWeb("sound of the phone", c.sound, 0)
	pictures := c.toWeb("pictures of the phone", c.camera, 98)
	if pictures.PayloadType != 96 || sound.SSRC == pictures.SSRC {
		c.t.Errorf("the browser gets %d/%x and %d/%x", sound.PayloadType, sound.SSRC, pictures.PayloadType, pictures.SSRC)
	}
}

// ports returns those of a description's sections.
func ports(d *offeranswer.Description) (active []bool) {
	for i := range d.Media {
		active = append(active, d.Media[i].Active())
	}
	return active
}

func expectActive(t testing.TB, what string, d *offeranswer.Description, want ...bool) {
	t.Helper()
	if diff := cmp.Diff(want, ports(d)); diff != "" {
		t.Errorf("%s: sections in use (-want +got):\n%s\n%s", what, diff, d.Marshal())
	}
}
