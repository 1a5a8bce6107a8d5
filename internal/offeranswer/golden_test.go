package offeranswer

import (
	"bytes"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pion/sdp/v3"
)

var update = flag.Bool("update", false, "rewrite the golden files in testdata")

// browserSide and phoneSide are our endpoints in the golden exchanges.
func browserSide() Transport {
	return Transport{
		Profile:     WebRTC,
		Address:     netip.MustParseAddr("192.0.2.1"),
		SessionID:   4242424242,
		Version:     1,
		CNAME:       "c3RyZWFt",
		Stream:      "webrtc2sip",
		Ufrag:       "gwUf",
		Pwd:         "gatewayPasswordOf24Chars",
		Lite:        true,
		Fingerprint: NewFingerprint([]byte("certificate")),
	}
}

func phoneSide() Transport {
	return Transport{
		Profile:   RTP,
		Address:   netip.MustParseAddr("192.0.2.1"),
		SessionID: 2424242424,
		Version:   1,
	}
}

var tracks = []string{"audio", "video", "third", "fourth", "fifth", "sixth", "seventh", "eighth"}

// withLines gives an endpoint what differs from stream to stream: a browser's
// has one port for all, a phone's one pair for each.
func withLines(t Transport, streams int) Transport {
	t.Lines = nil
	for k := range streams {
		line := Line{Address: t.Address, Port: 20000 + 2*uint16(k), SSRC: 0xfeedbeef + uint32(k), RTX: 0xbeefcafe + uint32(k), Track: tracks[k]}
		if t.Profile == WebRTC {
			line.Port = 10066
		}
		t.Lines = append(t.Lines, line)
	}
	return t
}

// makeOffer plans an exchange and makes its offer; known are the places of
// streams that are there already.
func makeOffer(offer *Description, t Transport, known ...Place) (Exchange, error) {
	places, err := Plan(offer, known, t.Profile, t.Previous)
	if err != nil {
		return Exchange{}, err
	}
	x := Exchange{Offer: offer, Places: places}
	x.Sent, err = MakeOffer(offer, places, withLines(t, len(places)))
	return x, err
}

func mustOffer(t testing.TB, offer *Description, to Transport, known ...Place) Exchange {
	t.Helper()
	x, err := makeOffer(offer, to, known...)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func makeAnswer(x Exchange, answer *Description, t Transport) (*Description, error) {
	d, _, err := MakeAnswer(x, answer, withLines(t, len(x.Places)))
	return d, err
}

func TestGolden(t *testing.T) {
	offers, err := filepath.Glob("testdata/*.offer.sdp")
	if err != nil || len(offers) < 8 {
		t.Fatalf("golden files: %v, %v", offers, err)
	}
	for _, path := range offers {
		base := strings.TrimSuffix(path, ".offer.sdp")
		t.Run(filepath.Base(base), func(t *testing.T) {
			offer := parseFile(t, path)
			toOfferer, toAnswerer := browserSide(), phoneSide()
			if offer.Profile() == RTP {
				toOfferer, toAnswerer = toAnswerer, toOfferer
			}
			x := mustOffer(t, offer, toAnswerer)
			compareGolden(t, base+".sent.sdp", x.Sent)

			answer := parseFile(t, base+".answer.sdp")
			reply, err := makeAnswer(x, answer, toOfferer)
			if err != nil {
				t.Fatal(err)
			}
			compareGolden(t, base+".reply.sdp", reply)
			if got, want := len(reply.Media), len(offer.Media); got != want {
				t.Errorf("sections of the answer: got %d, want %d", got, want)
			}
		})
	}
}

func parseFile(t testing.TB, path string) *Description {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	d, err := Parse(text)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return d
}

// compareGolden also has the text read by another parser, a strict one, and by
// our own.
func compareGolden(t *testing.T, path string, d *Description) {
	t.Helper()
	got := d.Marshal()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s: got\n%s\nwant\n%s", path, got, want)
	}
	checkText(t, got)
}

// checkText checks what holds for everything that we write.
func checkText(t testing.TB, text []byte) {
	t.Helper()
	again, err := Parse(text)
	if err != nil {
		t.Fatalf("own text does not parse: %v\n%s", err, text)
	}
	if second := again.Marshal(); !bytes.Equal(second, text) {
		t.Errorf("text changes when read and written: got\n%s\nwant\n%s", second, text)
	}
	// A data channel or fax section has a proto that the other parser may not
	// know; it is ours to repeat, not to judge.
	if bytes.Contains(text, []byte("m=image")) {
		return
	}
	var strict sdp.SessionDescription
	if err := strict.Unmarshal(text); err != nil {
		t.Errorf("a strict parser refuses our text: %v\n%s", err, text)
	}
}
