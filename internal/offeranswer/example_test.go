package offeranswer_test

import (
	"fmt"
	"net/netip"
	"strings"

	"webrtc2sip/internal/offeranswer"
)

// fingerprint stands for the ones of real certificates.
var fingerprint = offeranswer.NewFingerprint([]byte("certificate of the gateway"))

var browserOffer = strings.ReplaceAll(`v=0
o=- 1 2 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0 1
m=audio 9 UDP/TLS/RTP/SAVPF 111 0
c=IN IP4 0.0.0.0
a=ice-ufrag:dP6Q
a=ice-pwd:4In8hSjHqTcifxtb+HDQnfni
a=fingerprint:`+fingerprint.Algorithm+" "+fingerprint.Sum+`
a=setup:actpass
a=mid:0
a=sendrecv
a=rtcp-mux
a=rtpmap:111 opus/48000/2
m=video 9 UDP/TLS/RTP/SAVPF 96
c=IN IP4 0.0.0.0
a=mid:1
a=rtpmap:96 VP8/90000
`, "\n", "\r\n")

// A browser calls a phone, which has no camera.
func Example() {
	offer, err := offeranswer.Parse([]byte(browserOffer))
	if err != nil {
		fmt.Println(err)
		return
	}
	places, err := offeranswer.Plan(offer, nil, offeranswer.RTP, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	gateway := netip.MustParseAddr("192.0.2.1")
	sent, err := offeranswer.MakeOffer(offer, places, offeranswer.Transport{
		Profile: offeranswer.RTP, Address: gateway, SessionID: 1, Version: 1,
		Lines: []offeranswer.Line{{Address: gateway, Port: 20000}, {Address: gateway, Port: 20002}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	show("to the phone", sent)

	answer, err := offeranswer.Parse([]byte("v=0\r\nc=IN IP4 198.51.100.9\r\nm=audio 4000 RTP/AVP 0\r\nm=video 0 RTP/AVP 96\r\n"))
	if err != nil {
		fmt.Println(err)
		return
	}
	line := offeranswer.Line{Address: gateway, Port: 10066}
	x := offeranswer.Exchange{Offer: offer, Sent: sent, Places: places}
	reply, _, err := offeranswer.MakeAnswer(x, answer, offeranswer.Transport{
		Profile: offeranswer.WebRTC, Address: gateway, SessionID: 2, Version: 1, Lines: []offeranswer.Line{line, line},
		Ufrag: "gwUf", Pwd: "gatewayPasswordOf24Chars", Lite: true, Fingerprint: fingerprint,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	show("to the browser", reply)
	// Output:
	// to the phone:
	//   m=audio 20000 RTP/AVP 111 0
	//   m=video 20002 RTP/AVP 96
	// to the browser:
	//   m=audio 10066 UDP/TLS/RTP/SAVPF 0
	//   m=video 0 UDP/TLS/RTP/SAVPF 96
}

// show prints the m= lines of a description.
func show(what string, d *offeranswer.Description) {
	fmt.Println(what + ":")
	for line := range strings.SplitSeq(string(d.Marshal()), "\r\n") {
		if strings.HasPrefix(line, "m=") {
			fmt.Println("  " + line)
		}
	}
}

// A phone puts the call on hold: its direction crosses as it is.
func ExampleMakeOffer_hold() {
	hold, err := offeranswer.Parse([]byte("v=0\r\nc=IN IP4 198.51.100.9\r\nm=audio 4000 RTP/AVP 0\r\na=sendonly\r\n"))
	if err != nil {
		fmt.Println(err)
		return
	}
	places, err := offeranswer.Plan(hold, nil, offeranswer.WebRTC, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	gateway := netip.MustParseAddr("192.0.2.1")
	sent, err := offeranswer.MakeOffer(hold, places, offeranswer.Transport{
		Profile: offeranswer.WebRTC, Address: gateway, SessionID: 2, Version: 2,
		Lines: []offeranswer.Line{{Address: gateway, Port: 10066}},
		Ufrag: "gwUf", Pwd: "gatewayPasswordOf24Chars", Lite: true, Fingerprint: fingerprint,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	m := &sent.Media[0]
	fmt.Println(m.Direction, m.Setup, "mid", m.Mid)
	// Output: sendonly actpass mid 0
}

// An answerer that numbers telephone-event in its own way.
func ExamplePayloadMap() {
	parse := func(mline, rtpmap string) *offeranswer.Media {
		d, err := offeranswer.Parse([]byte("v=0\r\nc=IN IP4 198.51.100.9\r\n" + mline + "\r\n" + rtpmap + "\r\n"))
		if err != nil {
			fmt.Println(err)
			return nil
		}
		return &d.Media[0]
	}
	// The browser's offer went on as it came.
	sent := parse("m=audio 20000 RTP/AVP 0 126", "a=rtpmap:126 telephone-event/8000")
	answer := parse("m=audio 4000 RTP/AVP 0 101", "a=rtpmap:101 telephone-event/8000")
	types := offeranswer.PayloadMap(sent, sent, answer)
	fmt.Println("digits go out as", types.ToAnswerer[126], "and come in as", types.FromAnswerer[101])
	// Output: digits go out as 101 and come in as 126
}

func ExampleMaySend() {
	local := netip.MustParseAddr("192.0.2.1")
	for _, to := range []string{"198.51.100.9:4000", "127.0.0.1:4000", "169.254.169.254:8080", "198.51.100.9:22"} {
		fmt.Println(to, offeranswer.MaySend(netip.MustParseAddrPort(to), local))
	}
	// Output:
	// 198.51.100.9:4000 true
	// 127.0.0.1:4000 false
	// 169.254.169.254:8080 false
	// 198.51.100.9:22 false
}
