package breaker

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pion/rtcp"
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

func TestSoundAndPictures(t *testing.T) {
	b := start(t, Config{})
	c := newPictures(t, b)
	toPhone, toWeb := c.begin()
	expectActive(t, "to the phone", toPhone, true, true)
	expectActive(t, "to the browser", toWeb, true, true, false)
	if diff := cmp.Diff([]string{"a", "v"}, toWeb.Bundle); diff != "" {
		t.Errorf("BUNDLE (-want +got):\n%s", diff)
	}
	if x, y := toPhone.Media[0].Port, toPhone.Media[1].Port; x == y {
		t.Errorf("both streams at port %d towards the phone", x)
	}
	c.allPass()
	if got := b.Stats().Ports; got != 2 {
		t.Errorf("%d pairs of ports, want 2", got)
	}
	stats, _ := b.Call(c.id)
	got := []string{}
	for _, s := range stats.Streams {
		got = append(got, s.Kind+" "+s.Codec)
		for side, n := range s.Sides {
			if n.Received == 0 || n.Sent == 0 {
				t.Errorf("%s of the %s: %d received, %d sent", s.Kind, offeranswer.Side(side), n.Received, n.Sent)
			}
		}
	}
	if diff := cmp.Diff([]string{"audio PCMU", "video VP8"}, got); diff != "" {
		t.Errorf("streams (-want +got):\n%s", diff)
	}
	b.Delete(c.id)
	c.settle()
	c.settle()
	if got := b.Stats().Ports; got != 0 {
		t.Errorf("%d pairs of ports after the call", got)
	}
}

// The phone calls: the browser is offered a bundle-only section.
func TestPicturesOfACallingPhone(t *testing.T) {
	b := start(t, Config{})
	c := newPictures(t, b)
	c.parties[0], c.parties[1] = c.parties[1], c.parties[0]
	c.legs[0], c.legs[1] = c.legs[1], c.legs[0]
	answer := c.webLines()[:2]
	answer[0].mid, answer[0].formats = "0", pcmu
	answer[1].mid, answer[1].formats = "1", "98\r\na=rtpmap:98 VP8/90000"
	toWeb, toPhone := c.exchangeText(offeranswer.Caller, c.sound.phoneSDP(c.phoneLines()...), c.web.webSDP("active", answer...))
	if m := toWeb.Media[1]; !m.BundleOnly || m.Port != 0 || cmp.Diff([]string{"0", "1"}, toWeb.Bundle) != "" {
		t.Errorf("the browser was offered\n%s", toWeb.Marshal())
	}
	c.web.connect(toWeb.Marshal())
	c.aim(toPhone)
	c.fromWeb("sound of the browser", webAudioSSRC, 0, c.sound)
	c.fromWeb("pictures of the browser", webVideoSSRC, 98, c.camera)
	c.toWeb("sound of the phone", c.sound, 0)
	c.toWeb("pictures of the phone", c.camera, 98)
}

// Video comes and goes: refused at first, added by the phone in a slot of its
// own and the refused one of the browser, removed by the browser, added again.
func TestPicturesComeAndGo(t *testing.T) {
	b := start(t, Config{})
	c := newPictures(t, b)
	web, phone := c.webLines(), c.phoneLines()
	toPhone, toWeb := c.exchangeText(offeranswer.Caller, c.web.webSDP("actpass", web...), c.sound.phoneSDP(phone[0]))
	expectActive(t, "refused", toWeb, true, false, false)
	c.web.connect(toWeb.Marshal())
	c.aim(toPhone)
	c.fromWeb("sound alone", webAudioSSRC, 0, c.sound)

	web[1].mid = "3"
	web[2].refused = true
	toWeb, toPhone = c.exchangeText(offeranswer.Callee, c.sound.phoneSDP(phone...), c.web.webSDP("active", web[0], web[1], web[2]))
	if m := toWeb.Media[1]; m.Mid == "v" || !m.Active() || m.Kind != "video" {
		t.Errorf("the browser's refused slot was not used again:\n%s", toWeb.Marshal())
	}
	expectActive(t, "added", toPhone, true, true)
}

func TestPicturesRemovedAndAddedAgain(t *testing.T) {
	b := start(t, Config{})
	c := newPictures(t, b)
	c.begin()
	c.allPass()
	web, phone := c.webLines(), c.phoneLines()
	web[2].refused = true
	web[1].refused, phone[1].refused = true, true
	toPhone, toWeb := c.exchangeText(offeranswer.Caller, c.web.webSDP("actpass", web...), c.sound.phoneSDP(phone...))
	expectActive(t, "removed, to the phone", toPhone, true, false)
	expectActive(t, "removed, to the browser", toWeb, true, false, false)
	c.settle()
	if got := b.Stats().Ports; got != 1 {
		t.Errorf("%d pairs of ports after the removal, want 1", got)
	}
	stats, _ := b.Call(c.id)
	if last := stats.Streams[len(stats.Streams)-1]; !last.Ended || last.Kind != "video" || last.Sides[0].Received == 0 {
		t.Errorf("figures of the removed stream: %+v", last)
	}
	c.fromWeb("sound alone", webAudioSSRC, 0, c.sound)

	web[1].refused, phone[1].refused, web[1].mid = false, false, "v2"
	toPhone, toWeb = c.exchangeText(offeranswer.Caller, c.web.webSDP("actpass", web...), c.sound.phoneSDP(phone...))
	expectActive(t, "added again, to the phone", toPhone, true, true)
	expectActive(t, "added again, to the browser", toWeb, true, true, false)
	c.aim(toPhone)
	c.allPass()
}

// Each line is held by itself.
func TestHoldOfOneLine(t *testing.T) {
	b := start(t, Config{})
	c := newPictures(t, b)
	c.begin()
	c.allPass()
	web, phone := c.webLines(), c.phoneLines()
	web[1].direction, phone[1].direction = "inactive", "inactive"
	toPhone, _ := c.exchangeText(offeranswer.Caller, c.web.webSDP("actpass", web...), c.sound.phoneSDP(phone...))
	if x, y := toPhone.Media[0].Direction, toPhone.Media[1].Direction; x != offeranswer.SendRecv || y != offeranswer.Inactive {
		t.Errorf("the phone is offered %s and %s", x, y)
	}
	c.fromWeb("sound", webAudioSSRC, 0, c.sound)
	before, _ := b.Call(c.id)
	c.web.send(c.packet(webVideoSSRC, 96, "held"))
	c.eventually("the picture to be dropped", func() bool {
		now, _ := b.Call(c.id)
		return now.Streams[1].Sides[0].Unwanted > before.Streams[1].Sides[0].Unwanted
	})
	web[1].direction, phone[1].direction = "", ""
	c.exchangeText(offeranswer.Callee, c.sound.phoneSDP(phone...), c.web.webSDP("active", web...))
	c.allPass()
}

// An offer that changes nothing starts nothing, with several streams as well.
func TestUnchangedReofferOfPictures(t *testing.T) {
	b := start(t, Config{})
	c := newPictures(t, b)
	first, second := c.begin()
	c.web.version, c.sound.version = 0, 0
	toPhone, toWeb := c.exchangeText(offeranswer.Caller, c.web.webSDP("actpass", c.webLines()...), c.sound.phoneSDP(c.phoneLines()...))
	for what, pair := range map[string][2]*offeranswer.Description{"offer": {first, toPhone}, "answer": {second, toWeb}} {
		if diff := cmp.Diff(string(pair[0].Marshal()), string(pair[1].Marshal())); diff != "" {
			t.Errorf("%s changed (-first +second):\n%s", what, diff)
		}
	}
	c.allPass()
}

// After each side has added lines of its own their order differs; a second
// sound goes beside the first.
func TestLinesInAnotherOrder(t *testing.T) {
	b := start(t, Config{})
	c := newPictures(t, b)
	web, phone := c.webLines(), c.phoneLines()
	sound, data := web[0], web[2]
	_, toWeb := c.exchangeText(offeranswer.Caller, c.web.webSDP("actpass", sound, data), c.sound.phoneSDP(phone[0]))
	expectActive(t, "first", toWeb, true, false)
	c.web.connect(toWeb.Marshal())
	data.refused = true
	web[1].mid, web[1].formats = "1", "98\r\na=rtpmap:98 VP8/90000"+midLine
	toWeb, toPhone := c.exchangeText(offeranswer.Callee, c.sound.phoneSDP(phone...), c.web.webSDP("active", sound, data, web[1]))
	expectActive(t, "the phone adds video, to the browser", toWeb, true, false, true)
	expectActive(t, "the phone adds video, to the phone", toPhone, true, true)
	c.aim(toPhone)
	c.toWeb("pictures of the phone", c.camera, 98)

	// The browser offers all of it once more, and another sound.
	other := newPhone(t)
	second := mline{kind: "audio", formats: pcmu + midLine, mid: "a2", ssrc: 0x5ec0}
	toPhone, toWeb = c.exchangeText(offeranswer.Caller, c.web.webSDP("actpass", sound, data, web[1], second),
		c.sound.phoneSDP(phone[0], phone[1], mline{kind: "audio", formats: pcmu, at: other}))
	expectActive(t, "the browser adds sound, to the browser", toWeb, true, false, true, true)
	if got := []string{toPhone.Media[0].Kind, toPhone.Media[1].Kind, toPhone.Media[2].Kind}; cmp.Diff([]string{"audio", "video", "audio"}, got) != "" {
		t.Errorf("order towards the phone: %v", got)
	}
	c.fromWeb("the second sound", 0x5ec0, 0, other)
	c.fromWeb("the first sound", webAudioSSRC, 0, c.sound)
}

// A call of pictures alone is one, and sockets of other lines are no targets.
func TestPicturesAlone(t *testing.T) {
	b := start(t, Config{})
	c := newPictures(t, b)
	toPhone, toWeb := c.exchangeText(offeranswer.Caller, c.web.webSDP("actpass", c.webLines()[1]), c.sound.phoneSDP(c.phoneLines()[1]))
	c.aim(toPhone)
	var m *offeranswer.Media
	if m = &toWeb.Media[0]; m.Kind != "video" {
		t.Fatalf("got\n%s", toWeb.Marshal())
	}
	if err := c.web.dialICE(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	c.web.done.Go(c.web.readLoop)
	if err := c.web.handshake(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	c.fromWeb("pictures of the browser", webVideoSSRC, 96, c.camera)
	c.toWeb("pictures of the phone", c.camera, 98)
	call := b.calls[c.id]
	if own := netip.AddrPortFrom(loopback, toPhone.Media[0].Port); !call.owns(own) {
		t.Errorf("%s may be a target", own)
	}
}

// How the camera is held passes under the numbers of both sides; all other
// extensions end here.
func TestOrientationPasses(t *testing.T) {
	b := start(t, Config{})
	c := newPictures(t, b)
	web, phone := c.webLines(), c.phoneLines()
	web[1].formats += "\r\na=extmap:13 urn:3gpp:video-orientation"
	phone[1].formats += "\r\na=extmap:1 urn:3gpp:video-orientation"
	toPhone, toWeb := c.exchangeText(offeranswer.Caller, c.web.webSDP("actpass", web...), c.sound.phoneSDP(phone...))
	c.web.connect(toWeb.Marshal())
	c.aim(toPhone)
	for _, test := range []struct {
		from     string
		in, want uint8
		other    uint8
		send     func(*rtp.Packet)
		heard    <-chan *rtp.Packet
		ssrc     uint32
		pt       uint8
	}{
		{"browser", 13, 1, 4, c.web.send, c.camera.received, webVideoSSRC, 96},
		{"phone", 1, 13, 5, c.camera.send, c.web.received, c.camera.ssrc, 98},
	} {
		got := c.passes("pictures of the "+test.from, func(payload string) {
			p := c.packet(test.ssrc, test.pt, payload)
			for id, value := range map[uint8][]byte{test.in: {3}, test.other: {'v'}} {
				if err := p.SetExtension(id, value); err != nil {
					t.Fatal(err)
				}
			}
			test.send(p)
		}, test.heard)
		if ids := got.GetExtensionIDs(); len(ids) != 1 || string(got.GetExtension(test.want)) != "\x03" {
			t.Errorf("of the %s: extensions %v, %v", test.from, ids, got.GetExtension(test.want))
		}
	}
}

// Who cannot decode asks, and the source is asked, once a second.
func TestKeyframesAreAskedFor(t *testing.T) {
	b := start(t, Config{})
	c := newPictures(t, b)
	c.begin()
	c.allPass()
	stats, _ := b.Call(c.id)
	ours := [2]uint32{stats.Streams[1].Sides[0].OurSSRC, stats.Streams[1].Sides[1].OurSSRC}
	requests := map[string]rtcp.Packet{
		"PLI": &rtcp.PictureLossIndication{SenderSSRC: 1, MediaSSRC: ours[0]},
		"FIR": &rtcp.FullIntraRequest{SenderSSRC: 1, FIR: []rtcp.FIREntry{{SSRC: ours[1], SequenceNumber: 1}}},
	}
	for name, to := range map[string]struct {
		send  func([]byte)
		heard <-chan []byte
		ssrc  uint32
	}{"PLI": {c.web.sendReport, c.camera.rtcp, c.camera.ssrc}, "FIR": {c.camera.sendReport, c.web.rtcp, webVideoSSRC}} {
		raw, err := rtcp.Marshal([]rtcp.Packet{&rtcp.ReceiverReport{SSRC: 1}, requests[name]})
		if err != nil {
			t.Fatal(err)
		}
		c.eventually(name, func() bool {
			to.send(raw)
			select {
			case got := <-to.heard:
				packets, err := rtcp.Unmarshal(got)
				if err != nil || len(packets) != 2 {
					return false // a report of ours
				}
				pli, ok := packets[1].(*rtcp.PictureLossIndication)
				if ok && pli.MediaSSRC != to.ssrc {
					t.Errorf("%s: asked %x, want %x", name, pli.MediaSSRC, to.ssrc)
				}
				return ok
			case <-time.After(20 * time.Millisecond):
				return false
			}
		})
	}
}
