package offeranswer

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// browserOffer returns Chromium's audio offer after replacements old, new, …
func browserOffer(t testing.TB, replacements ...string) *Description {
	t.Helper()
	offer := parseFile(t, "testdata/chromium-156-audio.offer.sdp").Marshal()
	for i := 0; i < len(replacements); i += 2 {
		if !strings.Contains(string(offer), replacements[i]) {
			t.Fatalf("the offer has no %q", replacements[i])
		}
	}
	return mustParse(t, []byte(strings.NewReplacer(replacements...).Replace(string(offer))))
}

func TestMakeOfferRefuses(t *testing.T) {
	fingerprint := "a=fingerprint:sha-256 3B:3C:2D:3D:B9:9F:50:A1:58:72:0F:A1:FE:4D:95:BB:9F:FE:EC:9B:FE:EC:55:0F:F3:35:68:B2:98:07:A5:49\r\n"
	other := strings.Replace(fingerprint, "3B", "3C", 1)
	tests := []struct {
		name  string
		offer *Description
		want  error
	}{
		{"no section", mustParse(t, text("v=0")), ErrNotAcceptable},
		{"audio refused", mustParse(t, phone("m=audio 0 RTP/AVP 0")), ErrNotAcceptable},
		{"unknown video", mustParse(t, phone("m=video 4000 RTP/AVP 96")), ErrNoCommonCodec},
		{"repair alone", mustParse(t, phone("m=video 4000 RTP/AVP 96", "a=rtpmap:96 RTX/90000")), ErrNoCommonCodec},
		{"fax", mustParse(t, phone("m=audio 0 RTP/AVP 0", "m=image 4000 udptl t38")), ErrNotAcceptable},
		{"SDES", mustParse(t, phone("m=audio 4000 RTP/SAVP 0")), ErrNotAcceptable},
		{"host name", mustParse(t, phone("m=audio 4000 RTP/AVP 0", "c=IN IP4 phone.example")), ErrNotAcceptable},
		{"no address", mustParse(t, text("v=0", "m=audio 4000 RTP/AVP 0")), ErrNotAcceptable},
		{"comfort noise alone", mustParse(t, phone("m=audio 4000 RTP/AVP 13")), ErrNoCommonCodec},
		{"telephone-event alone", mustParse(t, phone("m=audio 4000 RTP/AVP 101", "a=rtpmap:101 telephone-event/8000")), ErrNoCommonCodec},
		{"payload type of RTCP", mustParse(t, phone("m=audio 4000 RTP/AVP 72", "a=rtpmap:72 PCMU/8000")), ErrNoCommonCodec},
		{"no fingerprint", browserOffer(t, fingerprint, ""), ErrNotAcceptable},
		{"two fingerprints", browserOffer(t, fingerprint, fingerprint+other), ErrNotAcceptable},
		{"weak fingerprint", browserOffer(t, fingerprint, "a=fingerprint:sha-1 3B:3C:2D:3D:B9:9F:50:A1:58:72:0F:A1:FE:4D:95:BB:9F:FE:EC:9B\r\n"), ErrNotAcceptable},
		{"no rtcp-mux", browserOffer(t, "a=rtcp-mux\r\n", ""), ErrNotAcceptable},
		{"no ufrag", browserOffer(t, "a=ice-ufrag:cLnC\r\n", ""), ErrNotAcceptable},
		{"no pwd", browserOffer(t, "a=ice-pwd:YgY4vS681+ujO08IU96RzkDq\r\n", ""), ErrNotAcceptable},
		{"short ufrag", browserOffer(t, "ice-ufrag:cLnC", "ice-ufrag:abc"), ErrMalformed},
		{"short pwd", browserOffer(t, "YgY4vS681+ujO08IU96RzkDq", "short"), ErrMalformed},
		{"foreign octet in the ufrag", browserOffer(t, "ice-ufrag:cLnC", "ice-ufrag:abc:d"), ErrMalformed},
		{"endless pwd", browserOffer(t, "YgY4vS681+ujO08IU96RzkDq", strings.Repeat("x", 257)), ErrMalformed},
		{"holdconn", browserOffer(t, "setup:actpass", "setup:holdconn"), ErrNotAcceptable},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if d, err := makeOffer(test.offer, phoneSide()); !errors.Is(err, test.want) {
				t.Errorf("got %+v, %v, want %v", d, err, test.want)
			}
		})
	}
	unsupported := phoneSide()
	unsupported.Profile = Unsupported
	if _, err := makeOffer(browserOffer(t), unsupported); !errors.Is(err, ErrNotAcceptable) {
		t.Errorf("unsupported endpoint: got %v, want %v", err, ErrNotAcceptable)
	}
}

func TestMakeOfferWritesRTCPPortOnlyIfUnusual(t *testing.T) {
	offer := browserOffer(t)
	for _, test := range []struct{ port, want uint16 }{{0, 0}, {20001, 0}, {20007, 20007}} {
		endpoint := withLines(phoneSide(), 1)
		endpoint.Lines[0].RTCPPort = test.port
		sent, err := MakeOffer(offer, []Place{{}}, endpoint)
		if err != nil {
			t.Fatal(err)
		}
		if got := sent.Media[0].RTCPPort; got != test.want {
			t.Errorf("RTCP port %d: a=rtcp got %d, want %d", test.port, got, test.want)
		}
	}
}

// Limits of the media cross; limits of RTCP, and unknown ones, do not.
func TestMakeOfferBandwidth(t *testing.T) {
	offer := mustParse(t, text("v=0", "c=IN IP4 198.51.100.9", "b=CT:200", "b=YZ:3", "t=0 0",
		"m=audio 4000 RTP/AVP 0", "b=AS:80", "b=TIAS:64000", "b=RS:0", "b=RR:0"))
	x := mustOffer(t, offer, browserSide())
	if diff := cmp.Diff([]Bandwidth{{"CT", 200}}, x.Sent.Bandwidth); diff != "" {
		t.Errorf("session (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]Bandwidth{{"AS", 80}, {"TIAS", 64000}}, x.Sent.Media[0].Bandwidth); diff != "" {
		t.Errorf("section (-want +got):\n%s", diff)
	}
}

// What is inactive, unknown or no media stays behind, and is refused.
func TestMakeOfferCarriesTheActiveSections(t *testing.T) {
	offer := mustParse(t, phone("m=audio 0 RTP/AVP 0", "m=video 4002 RTP/AVP 96", "m=audio 4004 RTP/AVP 8", "m=image 4005 udptl t38", "m=audio 4006 RTP/AVP 0"))
	x := mustOffer(t, offer, browserSide())
	want := []string{
		"group:BUNDLE 0 1",
		"m=audio 10066 UDP/TLS/RTP/SAVPF 8 96", "mid:0", "sendrecv",
		"m=audio 0 UDP/TLS/RTP/SAVPF 0 97", "mid:1", "sendrecv", "bundle-only",
	}
	if diff := cmp.Diff(want, layoutOf(x.Sent)); diff != "" {
		t.Errorf("offer (-want +got):\n%s", diff)
	}
	reply, err := makeAnswer(x, parseFile(t, "testdata/sipp-static.answer.sdp"), phoneSide())
	if err != nil {
		t.Fatal(err)
	}
	var ports []uint16
	for _, m := range reply.Media {
		ports = append(ports, m.Port)
	}
	if diff := cmp.Diff([]uint16{0, 0, 20000, 0, 0}, ports); diff != "" {
		t.Errorf("ports of the answer (-want +got):\n%s", diff)
	}
}

// A re-offer has the sections that its receiver knows, whatever the other
// side's description looks like.
func TestMakeOfferKeepsThePreviousLayout(t *testing.T) {
	browser := parseFile(t, "testdata/chromium-156-video.offer.sdp")
	toPhone := mustOffer(t, browser, phoneSide())
	previous, err := makeAnswer(toPhone, parseFile(t, "testdata/chromium-156-video.answer.sdp"), browserSide())
	if err != nil {
		t.Fatal(err)
	}
	hold := mustParse(t, phone("m=audio 4000 RTP/AVP 0", "a=sendonly"))
	tests := []struct {
		name     string
		previous *Description
		endpoint Transport
		want     []string
	}{
		{"first offer", nil, browserSide(), []string{
			"group:BUNDLE 0", "m=audio 10066 UDP/TLS/RTP/SAVPF 0 96", "mid:0", "sendonly",
		}},
		{"browser with video and data", previous, browserSide(), []string{
			"group:BUNDLE 0", "m=audio 10066 UDP/TLS/RTP/SAVPF 0 96", "mid:0", "sendonly",
			"m=video 0 UDP/TLS/RTP/SAVPF 96", "mid:1", "inactive",
			"m=application 0 UDP/DTLS/SCTP webrtc-datachannel", "mid:2",
		}},
		{"other mids, other proto", mustParse(t, text("v=0", "c=IN IP4 192.0.2.1", "a=group:BUNDLE a",
			"m=video 0 RTP/SAVPF 96", "a=mid:v",
			"m=audio 9 RTP/SAVPF 0", "a=mid:a", fingerprintLine)), browserSide(), []string{
			"group:BUNDLE a", "m=video 0 RTP/SAVPF 96", "mid:v", "inactive",
			"m=audio 10066 RTP/SAVPF 0 96", "mid:a", "sendonly",
		}},
		{"no BUNDLE", mustParse(t, text("v=0", "c=IN IP4 192.0.2.1", "m=audio 9 UDP/TLS/RTP/SAVPF 0")), browserSide(), []string{
			"m=audio 10066 UDP/TLS/RTP/SAVPF 0 96", "sendonly",
		}},
		{"audio refused before", mustParse(t, text("v=0", "c=IN IP4 192.0.2.1",
			"a=group:BUNDLE 0", "m=audio 0 UDP/TLS/RTP/SAVPF 8", "a=mid:0")), browserSide(), []string{
			"group:BUNDLE 1", "m=audio 10066 UDP/TLS/RTP/SAVPF 0 96", "mid:1", "sendonly",
		}},
		{"no audio before", mustParse(t, text("v=0", "c=IN IP4 192.0.2.1",
			"a=group:BUNDLE 0", "m=video 0 UDP/TLS/RTP/SAVPF 96", "a=mid:0", "a=inactive")), browserSide(), []string{
			"group:BUNDLE 1", "m=video 0 UDP/TLS/RTP/SAVPF 96", "mid:0", "inactive",
			"m=audio 10066 UDP/TLS/RTP/SAVPF 0 96", "mid:1", "sendonly",
		}},
		{"phone with video and feedback", mustParse(t, text("v=0", "c=IN IP4 192.0.2.1",
			"m=video 0 RTP/AVP 96", "a=inactive", "m=audio 20000 RTP/AVPF 8")), phoneSide(), []string{
			"m=video 0 RTP/AVP 96", "inactive", "m=audio 20000 RTP/AVPF 0", "sendonly",
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			endpoint := test.endpoint
			endpoint.Previous = test.previous
			var known []Place
			if test.previous != nil {
				if i, ok := test.previous.Audio(); ok {
					known = []Place{{0, i}}
				}
			}
			x := mustOffer(t, hold, endpoint, known...)
			checkText(t, x.Sent.Marshal())
			if diff := cmp.Diff(test.want, layoutOf(x.Sent)); diff != "" {
				t.Errorf("layout (-want +got):\n%s", diff)
			}
		})
	}
}

const fingerprintLine = "a=fingerprint:sha-256 3B:3C:2D:3D:B9:9F:50:A1:58:72:0F:A1:FE:4D:95:BB:9F:FE:EC:9B:FE:EC:55:0F:F3:35:68:B2:98:07:A5:49"

// layoutOf returns the lines that make the layout of a description.
func layoutOf(d *Description) []string {
	var lines []string
	for _, line := range strings.Split(string(d.Marshal()), "\r\n") {
		name := strings.TrimPrefix(line, "a=")
		for _, keep := range []string{"m=", "group", "mid", "sendrecv", "sendonly", "recvonly", "inactive", "bundle-only"} {
			if name == keep || strings.HasPrefix(name, keep+":") || keep == "m=" && strings.HasPrefix(line, keep) {
				lines = append(lines, name)
			}
		}
	}
	return lines
}

func TestMakeAnswerRefuses(t *testing.T) {
	offer := browserOffer(t)
	x := mustOffer(t, offer, phoneSide())
	good := mustParse(t, phone("m=audio 4000 RTP/AVP 0"))
	atBrowser := parseFile(t, "testdata/sipp-static.answer.sdp")
	fromPhone := mustParse(t, phone("m=audio 4000 RTP/AVP 0"))
	toBrowser := mustOffer(t, fromPhone, browserSide())
	actpass := mustParse(t, []byte(strings.Replace(string(atBrowser.Marshal()), "setup:active", "setup:actpass", 1)))
	phoneEnd, sameRole := phoneSide(), browserSide()
	sameRole.Setup = ActPass
	tests := []struct {
		name     string
		x        Exchange
		answer   *Description
		endpoint Transport
		want     error
	}{
		{"no offer", Exchange{}, good, browserSide(), ErrNoOffer},
		{"nothing sent", Exchange{Offer: offer}, good, browserSide(), ErrNoOffer},
		{"no answer", x, nil, browserSide(), ErrNotAcceptable},
		{"no section", x, mustParse(t, text("v=0")), browserSide(), ErrNotAcceptable},
		{"refused", x, mustParse(t, phone("m=audio 0 RTP/AVP 0")), browserSide(), ErrNotAcceptable},
		{"video in its place", x, mustParse(t, phone("m=video 4000 RTP/AVP 0")), browserSide(), ErrNotAcceptable},
		{"other profile", x, atBrowser, browserSide(), ErrNotAcceptable},
		{"host name", x, mustParse(t, phone("m=audio 4000 RTP/AVP 0", "c=IN IP4 phone.example")), browserSide(), ErrNotAcceptable},
		{"other codec", x, mustParse(t, phone("m=audio 4000 RTP/AVP 18")), browserSide(), ErrNoCommonCodec},
		{"telephone-event alone", x, mustParse(t, phone("m=audio 4000 RTP/AVP 126")), browserSide(), ErrNoCommonCodec},
		{"comfort noise alone", x, mustParse(t, phone("m=audio 4000 RTP/AVP 13")), browserSide(), ErrNoCommonCodec},
		{"endpoint of another profile", x, good, phoneEnd, ErrNotAcceptable},
		{"undecided role of ours", x, good, sameRole, ErrNotAcceptable},
		{"undecided role of theirs", toBrowser, actpass, phoneEnd, ErrNotAcceptable},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if d, err := makeAnswer(test.x, test.answer, test.endpoint); !errors.Is(err, test.want) {
				t.Errorf("got %+v, %v, want %v", d, err, test.want)
			}
		})
	}
}

func TestMakeAnswerDirection(t *testing.T) {
	tests := []struct{ offered, answered, want Direction }{
		{SendRecv, SendRecv, SendRecv},
		{SendOnly, RecvOnly, RecvOnly},
		{SendOnly, SendRecv, RecvOnly}, // a phone that does not know hold
		{SendOnly, SendOnly, Inactive},
		{RecvOnly, SendRecv, SendOnly},
		{Inactive, SendRecv, Inactive},
		{SendRecv, Inactive, Inactive},
		{SendRecv, SendOnly, SendOnly}, // the answerer holds in its answer
	}
	for _, test := range tests {
		t.Run(test.offered.String()+" "+test.answered.String(), func(t *testing.T) {
			offer := browserOffer(t, "a=sendrecv", "a="+test.offered.String())
			x := mustOffer(t, offer, phoneSide())
			if got := x.Sent.Media[0].Direction; got != test.offered {
				t.Errorf("offered: got %v, want %v", got, test.offered)
			}
			answer := mustParse(t, phone("m=audio 4000 RTP/AVP 0", "a="+test.answered.String()))
			reply, err := makeAnswer(x, answer, browserSide())
			if err != nil {
				t.Fatal(err)
			}
			if got := reply.Media[0].Direction; got != test.want {
				t.Errorf("answered: got %v, want %v", got, test.want)
			}
			if m := reply.Media[0]; len(m.Streams) != 1 || len(m.SSRCs) != 1 {
				t.Errorf("streams %v, SSRCs %v, want one of each whatever the direction", m.Streams, m.SSRCs)
			}
		})
	}
}

func TestMakeAnswerSetup(t *testing.T) {
	tests := []struct {
		offered string
		own     Setup
		want    Setup
	}{
		{"actpass", SetupUnset, Active},
		{"actpass", Passive, Passive},
		{"actpass", Active, Active},
		{"active", SetupUnset, Passive},
		{"passive", SetupUnset, Active},
	}
	for _, test := range tests {
		t.Run(test.offered+" "+test.own.String(), func(t *testing.T) {
			offer := browserOffer(t, "setup:actpass", "setup:"+test.offered)
			x := mustOffer(t, offer, phoneSide())
			endpoint := browserSide()
			endpoint.Setup = test.own
			reply, err := makeAnswer(x, mustParse(t, phone("m=audio 4000 RTP/AVP 0")), endpoint)
			if err != nil {
				t.Fatal(err)
			}
			if got := reply.Media[0].Setup; got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

// The browser hears the numbers it offered whatever the phone numbers.
func TestMakeAnswerKeepsOfferedPayloadTypes(t *testing.T) {
	offer := browserOffer(t)
	x := mustOffer(t, offer, phoneSide())
	tests := []struct {
		name   string
		answer []byte
		want   []string
	}{
		{
			"own numbers",
			phone("m=audio 4000 RTP/AVP 8 97 101", "a=rtpmap:97 OPUS/48000/2", "a=rtpmap:101 telephone-event/8000", "a=fmtp:101 0-15"),
			[]string{"m=audio 10066 UDP/TLS/RTP/SAVPF 8 111 126 110 63", "fmtp:126 0-15", "fmtp:110 0-15", "fmtp:63 111/111"},
		},
		{"no rtpmap", phone("m=audio 4000 RTP/AVP 111 126"), []string{"m=audio 10066 UDP/TLS/RTP/SAVPF 111 126 110 63", "fmtp:63 111/111"}},
		{"codec that was not offered", phone("m=audio 4000 RTP/AVP 0 18 101", "a=rtpmap:101 telephone-event/16000"), []string{"m=audio 10066 UDP/TLS/RTP/SAVPF 0 126"}},
		{"codec twice", phone("m=audio 4000 RTP/AVP 97 98", "a=rtpmap:97 PCMU/8000", "a=rtpmap:98 PCMU/8000"), []string{"m=audio 10066 UDP/TLS/RTP/SAVPF 0 126"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			reply, err := makeAnswer(x, mustParse(t, test.answer), browserSide())
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, line := range strings.Split(string(reply.Marshal()), "\r\n") {
				if strings.HasPrefix(line, "m=") || strings.HasPrefix(line, "a=fmtp") {
					got = append(got, strings.TrimPrefix(line, "a="))
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPayloadMap(t *testing.T) {
	offered := &mustParse(t, phone("m=audio 4000 RTP/AVP 111 0 8 101",
		"a=rtpmap:111 opus/48000/2", "a=rtpmap:101 telephone-event/8000")).Media[0]
	tests := []struct {
		name     string
		answer   []byte
		to, from map[uint8]uint8
	}{
		{
			"same numbers", phone("m=audio 4000 RTP/AVP 0 101", "a=rtpmap:101 telephone-event/8000"),
			map[uint8]uint8{0: 0, 101: 101},
			map[uint8]uint8{0: 0, 101: 101},
		},
		{
			"own numbers", phone("m=audio 4000 RTP/AVP 97 8 96", "a=rtpmap:97 opus/48000/2", "a=rtpmap:96 telephone-event/8000"),
			map[uint8]uint8{111: 97, 8: 8, 101: 96},
			map[uint8]uint8{111: 111, 97: 111, 8: 8, 101: 101, 96: 101},
		},
		{
			"numbers crossed", phone("m=audio 4000 RTP/AVP 101 111", "a=rtpmap:101 opus/48000/2", "a=rtpmap:111 telephone-event/8000"),
			map[uint8]uint8{111: 101, 101: 111},
			map[uint8]uint8{111: 111, 101: 101},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := PayloadMap(offered, offered, &mustParse(t, test.answer).Media[0])
			if diff := cmp.Diff(test.to, negotiated(p.ToAnswerer)); diff != "" {
				t.Errorf("to the answerer (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.from, negotiated(p.FromAnswerer)); diff != "" {
				t.Errorf("from the answerer (-want +got):\n%s", diff)
			}
		})
	}
}

func negotiated(table [128]uint8) map[uint8]uint8 {
	m := map[uint8]uint8{}
	for from, to := range table {
		if to != NoPayload {
			m[uint8(from)] = to
		}
	}
	return m
}

// The descriptions handed in are not changed, and not tied to the result.
func TestMakeLeavesItsArgumentsAlone(t *testing.T) {
	offer := parseFile(t, "testdata/chromium-156-video.offer.sdp")
	answer := parseFile(t, "testdata/chromium-156-video.answer.sdp")
	endpoint := browserSide()
	endpoint.Candidates = []Candidate{
		HostCandidate(netip.MustParseAddrPort("192.0.2.1:10066"), 0),
		HostCandidate(netip.MustParseAddrPort("[2001:db8::1]:10066"), 1),
	}
	before := [2]string{string(offer.Marshal()), string(answer.Marshal())}
	x := mustOffer(t, offer, phoneSide())
	reply, err := makeAnswer(x, answer, endpoint)
	if err != nil {
		t.Fatal(err)
	}
	if got := len(reply.Media[0].ICE.Candidates); got != 2 {
		t.Errorf("candidates: got %d, want 2", got)
	}
	for _, d := range []*Description{x.Sent, reply} {
		for i := range d.Media {
			for j := range d.Media[i].Formats {
				d.Media[i].Formats[j].Codec = "changed"
			}
		}
	}
	if after := [2]string{string(offer.Marshal()), string(answer.Marshal())}; after != before {
		t.Errorf("arguments changed: got %s, want %s", after, before)
	}
}
