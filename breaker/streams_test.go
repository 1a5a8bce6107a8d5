package breaker

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"webrtc2sip/internal/offeranswer"
)

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

// Each fork answers for itself: the first one has no camera, the second has.
func TestPicturesOfForks(t *testing.T) {
	b := start(t, Config{})
	c := newPictures(t, b)
	web, phone := c.webLines()[:2], c.phoneLines()
	toPhone, early := c.exchangeText(offeranswer.Caller, c.web.webSDP("actpass", web...), c.sound.phoneSDP(phone[0]))
	expectActive(t, "the first fork", early, true, false)
	c.web.connect(early.Marshal())
	c.aim(toPhone)
	c.fromWeb("sound to the first fork", webAudioSSRC, 0, c.sound)

	text, err := b.Answer(t.Context(), c.id, offeranswer.Callee, c.sound.phoneSDP(phone...))
	if err != nil {
		t.Fatal(err)
	}
	final := c.parse(text)
	expectActive(t, "the second fork", final, true, true)
	c.allPass()
}

// Both sides add video at the same time; one of the two offers is refused by the
// parties, and what was opened for it is released.
func TestPicturesAddedByBoth(t *testing.T) {
	b := start(t, Config{})
	c := newPictures(t, b)
	web, phone := c.webLines()[:2], c.phoneLines()
	toPhone, toWeb := c.exchangeText(offeranswer.Caller, c.web.webSDP("actpass", web[0]), c.sound.phoneSDP(phone[0]))
	c.web.connect(toWeb.Marshal())
	c.aim(toPhone)
	if _, err := b.Offer(t.Context(), c.id, offeranswer.Callee, c.sound.phoneSDP(append(phone, mline{kind: "audio", formats: pcmu, at: c.camera})...), c.legs); err != nil {
		t.Fatal(err)
	}
	if got := b.Stats().Ports; got != 3 {
		t.Errorf("%d pairs of ports while the phone's offer stands, want 3", got)
	}
	toPhone, toWeb = c.exchangeText(offeranswer.Caller, c.web.webSDP("actpass", web...), c.sound.phoneSDP(phone...))
	expectActive(t, "the browser's offer", toWeb, true, true)
	c.aim(toPhone)
	c.allPass()
	// The next offer of the phone takes the place of the one that was refused.
	web[1].mid = toWeb.Media[1].Mid
	c.exchangeText(offeranswer.Callee, c.sound.phoneSDP(phone...), c.web.webSDP("active", web...))
	c.settle()
	if got := b.Stats().Ports; got != 2 {
		t.Errorf("%d pairs of ports in the end, want 2", got)
	}
	c.allPass()
}

// Each stream has reports of its own, under one name for the party.
func TestReportsOfEachStream(t *testing.T) {
	b := start(t, Config{})
	c := newPictures(t, b)
	c.begin()
	c.allPass()
	stats, _ := b.Call(c.id)
	names, kinds := map[string]bool{}, map[uint32]string{}
	for _, s := range stats.Streams {
		kinds[s.Sides[0].OurSSRC] = s.Kind
	}
	standing := b.calls[c.id]
	c.eventually("a sender report on each stream", func() bool {
		c.allPass()
		b.sendReports([]*call{standing}, standing.began.Add(standing.age()))
		for {
			select {
			case raw := <-c.web.rtcp:
				packets, err := rtcp.Unmarshal(raw)
				if err != nil {
					t.Fatal(err)
				}
				report, ok := packets[0].(*rtcp.SenderReport)
				if !ok {
					continue
				}
				names[packets[1].(*rtcp.SourceDescription).Chunks[0].Items[0].Text] = true
				delete(kinds, report.SSRC)
			case <-time.After(20 * time.Millisecond):
				return len(kinds) == 0
			}
		}
	})
	if len(names) != 1 {
		t.Errorf("names of the party: %v", names)
	}
}

// Two browsers with the breaker between them: DTLS to DTLS, sound and pictures.
func TestPicturesOfTwoBrowsers(t *testing.T) {
	b := start(t, Config{})
	c := newPictures(t, b)
	callee := newBrowser(t)
	c.parties[offeranswer.Callee], c.legs[offeranswer.Callee].Profile = callee, offeranswer.WebRTC
	sent, err := b.Offer(t.Context(), c.id, offeranswer.Caller, c.web.webSDP("actpass", c.webLines()...), c.legs)
	if err != nil {
		t.Fatal(err)
	}
	offer, lines := c.parse(sent), c.webLines()
	if len(offer.Bundle) != 2 || b.Stats().Ports != 0 {
		t.Errorf("bundle %v and %d pairs of ports, want two sections and none", offer.Bundle, b.Stats().Ports)
	}
	lines = lines[:len(offer.Media)]
	for i, m := range offer.Media {
		lines[i].mid, lines[i].ssrc = m.Mid, lines[i].ssrc+1
	}
	made, err := b.Answer(t.Context(), c.id, offeranswer.Callee, callee.webSDP("active", lines...))
	if err != nil {
		t.Fatalf("%v\nto\n%s", err, sent)
	}
	c.settle()
	connected := make(chan struct{})
	go func() {
		defer close(connected)
		callee.connect(sent)
	}()
	c.web.connect(made)
	<-connected
	both := func() {
		t.Helper()
		for ssrc, pt := range map[uint32]uint8{webAudioSSRC: 0, webVideoSSRC: 96} {
			c.passes("from the caller", func(payload string) { c.web.send(c.packet(ssrc, pt, payload)) }, callee.received)
			c.passes("from the callee", func(payload string) { callee.send(c.packet(ssrc+1, pt, payload)) }, c.web.received)
		}
	}
	both()
	if _, err := b.Offer(t.Context(), c.id, offeranswer.Callee, callee.webSDP("actpass", lines...), c.legs); err != nil {
		t.Fatal(err)
	}
	both() // an offer alone changes nothing
}
