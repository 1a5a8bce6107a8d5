package offeranswer

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// group returns a browser's offer with the sections given, each "kind mid", of
// which those in bundle are in one group.
func groupOffer(t testing.TB, bundle string, sections ...string) *Description {
	t.Helper()
	lines := []string{"v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "t=0 0"}
	if bundle != "" {
		lines = append(lines, "a=group:BUNDLE "+bundle)
	}
	for _, s := range sections {
		kind, mid, _ := strings.Cut(s, " ")
		format, name := "0", "PCMU/8000"
		if kind == "video" {
			format, name = "96", "VP8/90000"
		}
		lines = append(lines, "m="+kind+" 9 UDP/TLS/RTP/SAVPF "+format, "c=IN IP4 0.0.0.0", "a=rtpmap:"+format+" "+name,
			"a=mid:"+mid, "a=ice-ufrag:dP6Q", "a=ice-pwd:4In8hSjHqTcifxtb+HDQnfni", fingerprintLine, "a=setup:actpass", "a=rtcp-mux")
	}
	return mustParse(t, text(lines...))
}

func TestPlan(t *testing.T) {
	many := []string{}
	mids := []string{}
	for i := range MaxStreams + 2 {
		many = append(many, fmt.Sprintf("video %d", i))
		mids = append(mids, fmt.Sprint(i))
	}
	eight := make([]Place, MaxStreams)
	for i := range eight {
		eight[i] = Place{i, i}
	}
	withAudio := append(append([]string{}, many...), "audio z")
	sevenAndSound := append(slices.Clone(eight[:MaxStreams-1]), Place{MaxStreams + 2, MaxStreams - 1})
	tests := []struct {
		name     string
		offer    *Description
		to       Profile
		previous *Description
		known    []Place
		want     []Place
	}{
		{"sound", groupOffer(t, "a", "audio a"), RTP, nil, nil, []Place{{0, 0}}},
		{"both in a group", groupOffer(t, "a v", "audio a", "video v"), RTP, nil, nil, []Place{{0, 0}, {1, 1}}},
		{"pictures outside the group", groupOffer(t, "a", "audio a", "video v"), RTP, nil, nil, []Place{{0, 0}}},
		{"no group", groupOffer(t, "", "video v", "audio a"), RTP, nil, nil, []Place{{1, 0}}},
		{"pictures alone", groupOffer(t, "v", "video v"), RTP, nil, nil, []Place{{0, 0}}},
		{"too many", groupOffer(t, strings.Join(mids, " "), many...), RTP, nil, nil, eight},
		{"the sound is not among the many", groupOffer(t, strings.Join(mids, " ")+" z", withAudio...), RTP, nil, nil, sevenAndSound},
		{"to a browser that knows no group", groupOffer(t, "a v", "audio a", "video v"), WebRTC, groupOffer(t, "", "audio a"), []Place{{0, 0}}, []Place{{0, 0}}},
		{"to a browser that knows no group, pictures in use", groupOffer(t, "a v", "audio a", "video v"), WebRTC, groupOffer(t, "", "video a"), []Place{{1, 0}}, []Place{{1, 0}}},
		{"to a browser that knows no group, nothing known", groupOffer(t, "a v", "video v", "audio a"), WebRTC, groupOffer(t, "", "audio a"), nil, []Place{{1, 1}}},
		{
			"known places stay, new ones are added", groupOffer(t, "a v w", "audio a", "video v", "video w"), RTP,
			mustParse(t, phone("m=video 4 RTP/AVP 96", "m=audio 6 RTP/AVP 0")),
			[]Place{{0, 1}, {1, 0}},
			[]Place{{0, 1}, {1, 0}, {2, 2}},
		},
		{
			"a refused slot of the kind is taken", groupOffer(t, "a v", "audio a", "video v"), RTP,
			mustParse(t, phone("m=audio 4 RTP/AVP 0", "m=image 0 udptl t38", "m=video 0 RTP/AVP 96")),
			[]Place{{0, 0}},
			[]Place{{0, 0}, {1, 2}},
		},
		{
			"a slot that has changed its kind is another stream", groupOffer(t, "a v", "audio a", "video v"), RTP,
			mustParse(t, phone("m=audio 4 RTP/AVP 0", "m=audio 6 RTP/AVP 0")),
			[]Place{{0, 0}, {1, 1}},
			[]Place{{0, 0}, {1, 2}},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := Plan(test.offer, test.known, test.to, test.previous)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("places (-want +got):\n%s", diff)
			}
		})
	}
}

// answerTo parses an answer of a phone to x, section by section.
func answerTo(t testing.TB, mlines ...string) *Description {
	t.Helper()
	return mustParse(t, phone(mlines[0], mlines[1:]...))
}

// Each section is accepted or refused by itself, and the group has the accepted
// ones alone.
func TestMakeAnswerSections(t *testing.T) {
	const vp8 = "a=rtpmap:96 VP8/90000"
	offer := groupOffer(t, "a v w", "audio a", "video v", "video w")
	tests := []struct {
		name     string
		answer   *Description
		accepted []bool
		want     []string
	}{
		{"all", answerTo(t, "m=audio 4 RTP/AVP 0", "m=video 6 RTP/AVP 96", vp8, "a=inactive", "m=video 8 RTP/AVP 96", vp8), []bool{true, true, true}, []string{
			"group:BUNDLE a v w", "m=audio 10066 UDP/TLS/RTP/SAVPF 0", "mid:a", "sendrecv",
			"m=video 10066 UDP/TLS/RTP/SAVPF 96", "mid:v", "inactive", "m=video 10066 UDP/TLS/RTP/SAVPF 96", "mid:w", "sendrecv",
		}},
		{"no sound", answerTo(t, "m=audio 0 RTP/AVP 0", "m=video 6 RTP/AVP 96", vp8, "m=video 0 RTP/AVP 96"), []bool{false, true, false}, []string{
			"group:BUNDLE v", "m=audio 0 UDP/TLS/RTP/SAVPF 0", "mid:a", "inactive",
			"m=video 10066 UDP/TLS/RTP/SAVPF 96", "mid:v", "sendrecv", "m=video 0 UDP/TLS/RTP/SAVPF 96", "mid:w", "inactive",
		}},
		{"out of reach", answerTo(t, "m=audio 4 RTP/AVP 0", "m=video 6 RTP/AVP 96", "c=IN IP4 phone.example", vp8, "m=video 8 RTP/SAVP 96", vp8), []bool{true, false, false}, []string{
			"group:BUNDLE a", "m=audio 10066 UDP/TLS/RTP/SAVPF 0", "mid:a", "sendrecv",
			"m=video 0 UDP/TLS/RTP/SAVPF 96", "mid:v", "inactive", "m=video 0 UDP/TLS/RTP/SAVPF 96", "mid:w", "inactive",
		}},
		{"sections missing, a codec that was not offered", answerTo(t, "m=audio 4 RTP/AVP 0", "m=video 6 RTP/AVP 97", "a=rtpmap:97 H264/90000"), []bool{true, false, false}, []string{
			"group:BUNDLE a", "m=audio 10066 UDP/TLS/RTP/SAVPF 0", "mid:a", "sendrecv",
			"m=video 0 UDP/TLS/RTP/SAVPF 96", "mid:v", "inactive", "m=video 0 UDP/TLS/RTP/SAVPF 96", "mid:w", "inactive",
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			x := mustOffer(t, offer, phoneSide())
			made, accepted, err := MakeAnswer(x, test.answer, withLines(browserSide(), 3))
			if err != nil {
				t.Fatal(err)
			}
			checkText(t, made.Marshal())
			if diff := cmp.Diff(test.accepted, accepted); diff != "" {
				t.Errorf("accepted (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.want, layoutOf(made)); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
			agreed := x.Agreed(test.answer, accepted)
			for k, p := range x.Places {
				if agreed.Media[p.Sent].Active() != accepted[k] {
					t.Errorf("section %d after the exchange: active %v", p.Sent, agreed.Media[p.Sent].Active())
				}
			}
		})
	}
	x := mustOffer(t, offer, phoneSide())
	if _, err := makeAnswer(x, answerTo(t, "m=audio 0 RTP/AVP 0", "m=video 0 RTP/AVP 96"), browserSide()); !errors.Is(err, ErrNotAcceptable) {
		t.Errorf("all refused: got %v, want %v", err, ErrNotAcceptable)
	}
}

// A browser that answers a section outside the group has no transport for it.
func TestMakeAnswerOutsideTheGroup(t *testing.T) {
	x := mustOffer(t, mustParse(t, phone("m=audio 4 RTP/AVP 0", "m=video 6 RTP/AVP 96", "a=rtpmap:96 VP8/90000")), browserSide())
	answer := groupOffer(t, "0", "audio 0", "video 1")
	for i := range answer.Media {
		answer.Media[i].Setup = Active
	}
	made, accepted, err := MakeAnswer(x, answer, withLines(phoneSide(), 2))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]bool{true, false}, accepted); diff != "" || made.Media[1].Active() {
		t.Errorf("accepted (-want +got):\n%s%s", diff, made.Marshal())
	}
	if got := x.Agreed(answer, accepted).Bundle; !slices.Equal(got, []string{"0"}) {
		t.Errorf("group %v", got)
	}
}

// What a re-offer to a browser looks like: standing sections have the shared
// port, new ones are bundle-only, and a slot that is used again has a new mid.
func TestReofferToABrowser(t *testing.T) {
	browser := parseFile(t, "testdata/chromium-156-video.offer.sdp")
	x := mustOffer(t, browser, phoneSide())
	reply, err := makeAnswer(x, answerTo(t, "m=audio 4 RTP/AVP 0"), browserSide())
	if err != nil {
		t.Fatal(err)
	}
	side := browserSide()
	side.Previous = reply
	both := mustParse(t, phone("m=audio 4 RTP/AVP 0", "m=video 6 RTP/AVP 96", "a=rtpmap:96 VP8/90000", "m=audio 8 RTP/AVP 8"))
	next := mustOffer(t, both, side, Place{0, 0})
	want := []string{
		"group:BUNDLE 0 3 4", "m=audio 10066 UDP/TLS/RTP/SAVPF 0 97", "mid:0", "sendrecv",
		"m=video 0 UDP/TLS/RTP/SAVPF 96 98", "mid:3", "sendrecv", "bundle-only",
		"m=application 0 UDP/DTLS/SCTP webrtc-datachannel", "mid:2",
		"m=audio 0 UDP/TLS/RTP/SAVPF 8 99", "mid:4", "sendrecv", "bundle-only",
	}
	if diff := cmp.Diff(want, layoutOf(next.Sent)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	checkText(t, next.Sent.Marshal())
	if m := next.Sent.Media[1]; m.ICE.Ufrag == "" || len(m.ICE.Candidates) != 0 || m.ExtensionID(ExtensionMID) == 0 {
		t.Errorf("new section: %+v", m)
	}
	if got := side.Previous.Media[0].ExtensionID(ExtensionMID); got != 0 {
		t.Errorf("mid extension %d in a call of one stream", got)
	}
}

func TestExtensions(t *testing.T) {
	offer := parseFile(t, "testdata/chromium-156-video.offer.sdp")
	if got := offer.Media[1].ExtensionID(ExtensionOrientation); got != 13 {
		t.Errorf("orientation is %d, want 13", got)
	}
	x := mustOffer(t, offer, phoneSide())
	const vp8 = "a=rtpmap:96 VP8/90000"
	for _, test := range []struct {
		name, line string
		want       uint8
	}{
		{"accepted", "a=extmap:1 urn:3gpp:video-orientation", 13},
		{"refused", "a=sendrecv", 0},
		{"one way", "a=extmap:1/sendonly urn:3gpp:video-orientation", 0},
		{"two-octet form", "a=extmap:200 urn:3gpp:video-orientation", 0},
		{"no number", "a=extmap:x urn:3gpp:video-orientation", 0},
		{"no name", "a=extmap:1", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			reply, err := makeAnswer(x, answerTo(t, "m=audio 4 RTP/AVP 0", "m=video 6 RTP/AVP 96", vp8, test.line), browserSide())
			if err != nil {
				t.Fatal(err)
			}
			if got := reply.Media[1].ExtensionID(ExtensionOrientation); got != test.want {
				t.Errorf("orientation is %d, want %d", got, test.want)
			}
			if got := reply.Media[1].ExtensionID(ExtensionMID); got != 4 {
				t.Errorf("mid is %d, want the 4 of the offer", got)
			}
			// A number keeps its meaning.
			side := browserSide()
			side.Previous = reply
			again := mustOffer(t, mustParse(t, phone("m=audio 4 RTP/AVP 0", "m=video 6 RTP/AVP 96", vp8, "a=extmap:4 urn:3gpp:video-orientation")),
				side, x.Places...)
			mid, orientation := again.Sent.Media[1].ExtensionID(ExtensionMID), again.Sent.Media[1].ExtensionID(ExtensionOrientation)
			if mid != 4 || orientation == 4 || orientation == 0 || test.want != 0 && orientation != test.want {
				t.Errorf("then mid is %d and orientation %d", mid, orientation)
			}
		})
	}
}

// Simulcast, of both ages, is answered with one layer: without a word of it.
func TestSimulcastIsAnsweredWithOneLayer(t *testing.T) {
	offer := parseFile(t, "testdata/chromium-156-simulcast.offer.sdp")
	x := mustOffer(t, offer, phoneSide())
	reply, err := makeAnswer(x, parseFile(t, "testdata/chromium-156-simulcast.answer.sdp"), browserSide())
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []*Description{x.Sent, reply} {
		for _, word := range []string{"simulcast", "a=rid", "rtp-stream-id", "SIM"} {
			if strings.Contains(string(d.Marshal()), word) {
				t.Errorf("%q in\n%s", word, d.Marshal())
			}
		}
	}
	d := mustParse(t, phone("m=video 4 RTP/AVP 96", "a=ssrc-group:SIM 1 2 3", "a=ssrc-group:FID 1 4", "a=ssrc-group:FID x", "a=ssrc-group:FID"))
	want := []SSRCGroup{{"SIM", []uint32{1, 2, 3}}, {"FID", []uint32{1, 4}}}
	if diff := cmp.Diff(want, d.Media[0].SSRCGroups); diff != "" {
		t.Errorf("groups (-want +got):\n%s", diff)
	}
}

// Feedback is said under AVPF, and what both endpoints have.
func TestFeedback(t *testing.T) {
	const vp8 = "a=rtpmap:96 VP8/90000"
	fb := func(d *Description, i int) []string { return d.Media[i].Formats[0].Feedback }
	toPhone := mustOffer(t, parseFile(t, "testdata/chromium-156-video.offer.sdp"), phoneSide())
	if got := fb(toPhone.Sent, 1); got != nil {
		t.Errorf("under RTP/AVP: %v", got)
	}
	for _, test := range []struct {
		proto, line string
		want        []string
	}{
		{"RTP/AVP", "a=rtcp-fb:* nack pli", nil},
		{"RTP/AVPF", "a=rtcp-fb:* nack pli", []string{"nack pli"}},
		{"RTP/AVPF", "a=rtcp-fb:96 ccm tmmbr", nil},
		{"RTP/AVPF", "a=sendrecv", nil},
	} {
		x := mustOffer(t, mustParse(t, phone("m=audio 4 RTP/AVP 0", "m=video 6 "+test.proto+" 96", vp8, test.line)), browserSide())
		if diff := cmp.Diff(x.Sent.Media[1].ownFeedback(), fb(x.Sent, 1)); diff != "" {
			t.Errorf("to a browser (-want +got):\n%s", diff)
		}
		answer := groupOffer(t, "0 1", "audio 0", "video 1")
		for i := range answer.Media {
			answer.Media[i].Setup = Active
		}
		made, err := makeAnswer(x, answer, phoneSide())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(test.want, fb(made, 1)); diff != "" || made.Media[1].Proto != test.proto {
			t.Errorf("%s with %s (-want +got):\n%s", test.proto, test.line, diff)
		}
	}
}

// Payload types have one meaning in a group: phones count from 96 twice.
func TestPayloadTypesOfAGroup(t *testing.T) {
	offer := mustParse(t, phone("m=audio 4 RTP/AVP 96 0", "a=rtpmap:96 opus/48000/2", "m=video 6 RTP/AVP 96 97", "a=rtpmap:96 VP8/90000", "a=rtpmap:97 H264/90000",
		"m=video 8 RTP/AVP 97", "a=rtpmap:97 H264/90000"))
	x := mustOffer(t, offer, browserSide())
	var got [][]uint8
	for _, m := range x.Sent.Media {
		var types []uint8
		for _, f := range m.Formats {
			if f.CarriesMedia() && !f.isRepair() { // our own have other numbers again
				types = append(types, f.PayloadType)
			}
		}
		got = append(got, types)
	}
	if diff := cmp.Diff([][]uint8{{96, 0}, {98, 97}, {97}}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	types := PayloadMap(&offer.Media[1], &x.Sent.Media[1], &x.Sent.Media[1])
	if diff := cmp.Diff(map[uint8]uint8{96: 98, 97: 97}, negotiated(types.ToAnswerer)); diff != "" {
		t.Errorf("to the browser (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[uint8]uint8{98: 96, 97: 97}, negotiated(types.FromAnswerer)); diff != "" {
		t.Errorf("from the browser (-want +got):\n%s", diff)
	}
	if toPhone := mustOffer(t, offer, phoneSide()); toPhone.Sent.Media[1].Formats[0].PayloadType != 96 {
		t.Error("renumbered where each section has its own port")
	}
}

// A group with more formats than numbers keeps what it has.
func TestPayloadTypesRunOut(t *testing.T) {
	var lines []string
	for section := range 3 {
		var numbers, maps []string
		for pt := 35; pt < 128; pt++ {
			if pt < 64 || pt > 95 {
				numbers = append(numbers, fmt.Sprint(pt))
				maps = append(maps, fmt.Sprintf("a=rtpmap:%d codec%d/90000", pt, section))
			}
		}
		lines = append(append(lines, "m=video 6 RTP/AVP "+strings.Join(numbers, " ")), maps...)
	}
	checkText(t, mustOffer(t, mustParse(t, phone(lines[0], lines[1:]...)), browserSide()).Sent.Marshal())
}

func TestSameConfiguration(t *testing.T) {
	h264 := func(fmtp string) Format {
		return Format{Codec: "H264", ClockRate: 90000, Channels: 1, FMTP: fmtp}
	}
	tests := []struct {
		name string
		f, g Format
		want bool
	}{
		{"same", h264("profile-level-id=42e01f;packetization-mode=1"), h264("packetization-mode=1; profile-level-id=42E034"), true},
		{"constrained by another flag", h264("profile-level-id=42e01f"), h264("profile-level-id=4d801f"), true},
		{"baseline", h264("profile-level-id=42e01f"), h264("profile-level-id=42001f"), false},
		{"main", h264("profile-level-id=42001f"), h264("profile-level-id=4d001f"), false},
		{"high", h264("profile-level-id=640c1f"), h264("profile-level-id=64001f"), false},
		{"mode", h264("packetization-mode=1"), h264(""), false},
		{"nothing said", h264(""), h264("profile-level-id=420010"), true},
		{"broken", h264("profile-level-id=zz"), h264("profile-level-id=42xx1f"), false},
		{"other codec", h264(""), Format{Codec: "VP8", ClockRate: 90000, Channels: 1}, false},
		{"VP9 profile", Format{Codec: "VP9", ClockRate: 90000, FMTP: "profile-id=2"}, Format{Codec: "vp9", ClockRate: 90000}, false},
		{"VP8 differs in nothing that counts", Format{Codec: "VP8", FMTP: "max-fs=1"}, Format{Codec: "VP8"}, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := test.f.sameConfiguration(test.g); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
			if got := test.g.sameConfiguration(test.f); got != test.want {
				t.Errorf("turned round: got %v, want %v", got, test.want)
			}
		})
	}
}

// A phone's Baseline goes to the browser's Constrained Baseline, in its words.
func TestAnswerInTheOfferedConfiguration(t *testing.T) {
	offer := parseFile(t, "testdata/safari-17-video.offer.sdp")
	x := mustOffer(t, offer, phoneSide())
	tests := []struct {
		name, rtpmap, fmtp string
		pt                 uint8
		want               string
	}{
		{"baseline", "H264", "profile-level-id=42801e;packetization-mode=1;max-br=512", 98, "max-br=512;packetization-mode=1;profile-level-id=42e01e"},
		{"as offered", "H264", "packetization-mode=1;profile-level-id=42e00c", 98, "packetization-mode=1;profile-level-id=42e00c"},
		{"other mode", "H264", "profile-level-id=640c1e", 96, "packetization-mode=1;profile-level-id=640c1e"},
		{"nothing said", "H264", "", 98, "packetization-mode=1;profile-level-id=42e01f"},
		{"H.265", "H265", "profile-id=1", 100, "profile-id=1"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			answer := answerTo(t, "m=audio 4 RTP/AVP 8", "m=video 6 RTP/AVP 50", "a=rtpmap:50 "+test.rtpmap+"/90000", "a=fmtp:50 "+test.fmtp)
			reply, err := makeAnswer(x, answer, browserSide())
			if err != nil {
				t.Fatal(err)
			}
			if f := reply.Media[1].Formats[0]; f.PayloadType != test.pt || f.FMTP != test.want {
				t.Errorf("got %d %q, want %d %q", f.PayloadType, f.FMTP, test.pt, test.want)
			}
		})
	}
}
