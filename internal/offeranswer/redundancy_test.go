package offeranswer

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// numbersOf returns the payload types of a section, and what its RED holds.
func numbersOf(m *Media) (types []uint8, fmtp []string) {
	for _, f := range m.Formats {
		types = append(types, f.PayloadType)
		if f.IsRedundancy() {
			fmtp = append(fmtp, f.FMTP)
		}
	}
	return types, fmtp
}

// RED crosses where both sides have it for the same, and is ours towards a
// browser where they have not.
func TestRedundancy(t *testing.T) {
	const opus, red = "a=rtpmap:96 opus/48000/2", "a=rtpmap:97 red/48000/2"
	tests := []struct {
		name   string
		answer []byte
		types  []uint8 // of the answer to the browser
		passes bool
	}{
		{"without it", phone("m=audio 4000 RTP/AVP 96", opus), []uint8{111, 110, 63}, false},
		{"with it", phone("m=audio 4000 RTP/AVP 97 96", opus, red, "a=fmtp:97 96/96"), []uint8{63, 111, 110}, true},
		{"of something else", phone("m=audio 4000 RTP/AVP 97 96 0", opus, red, "a=fmtp:97 0/0"), []uint8{111, 0, 126, 110, 63}, false},
		{"of two", phone("m=audio 4000 RTP/AVP 97 96 0", opus, red, "a=fmtp:97 96/0"), []uint8{111, 0, 126, 110, 63}, false},
		{"of nobody knows what", phone("m=audio 4000 RTP/AVP 97 96", opus, red), []uint8{111, 110, 63}, false},
		{"at another clock", phone("m=audio 4000 RTP/AVP 98 96", opus, "a=rtpmap:98 red/8000", "a=fmtp:98 96/96"), []uint8{111, 110, 63}, false},
		{"alone", phone("m=audio 4000 RTP/AVP 97 0", red, "a=fmtp:97 111/111"), []uint8{0, 126}, false},
	}
	offer := browserOffer(t)
	x := mustOffer(t, offer, phoneSide())
	if _, fmtp := numbersOf(&x.Sent.Media[0]); !slices.Equal(fmtp, []string{"111/111"}) {
		t.Errorf("the phone was offered RED of %q", fmtp)
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			answer := mustParse(t, test.answer)
			reply, err := makeAnswer(x, answer, browserSide())
			if err != nil {
				t.Fatal(err)
			}
			types, fmtp := numbersOf(&reply.Media[0])
			slices.Sort(types)
			slices.Sort(test.types)
			if diff := cmp.Diff(test.types, types); diff != "" {
				t.Errorf("payload types (-want +got):\n%s", diff)
			}
			if slices.Contains(test.types, 63) != slices.Equal(fmtp, []string{"111/111"}) {
				t.Errorf("RED of %q", fmtp)
			}
			if to := PayloadMap(&offer.Media[0], &x.Sent.Media[0], &answer.Media[0]).ToAnswerer[63]; test.passes != (to != NoPayload) {
				t.Errorf("RED goes to %d", to)
			}
		})
	}
}

// Who would rather send RED says so by its order, and is answered in it.
func TestRedundancyInTheOrderOfTheOffer(t *testing.T) {
	for offered, want := range map[string][]uint8{"111 63": {0, 111, 63}, "63 111": {0, 63, 111}} {
		x := mustOffer(t, browserOffer(t, "111 63 9 0 8 13 110 126", offered+" 0"), phoneSide())
		reply, err := makeAnswer(x, mustParse(t, phone("m=audio 4000 RTP/AVP 0 111")), browserSide())
		if err != nil {
			t.Fatal(err)
		}
		if types, _ := numbersOf(&reply.Media[0]); !slices.Equal(types, want) {
			t.Errorf("%s was answered with %v, want %v", offered, types, want)
		}
	}
}

// Towards a browser the numbers in fmtp go with those of the formats, and a phone
// without RED is no reason for a browser to do without.
func TestRedundancyTowardsABrowser(t *testing.T) {
	const opus, red = "a=rtpmap:96 opus/48000/2", "a=rtpmap:97 red/48000/2"
	for name, test := range map[string]struct {
		audio []string
		fmtp  []string
	}{
		"its own numbers": {[]string{"m=audio 8 RTP/AVP 97 96", opus, red, "a=fmtp:97 96/96"}, []string{"98/98"}},
		"ours":            {[]string{"m=audio 8 RTP/AVP 96", opus}, []string{"98/98"}},
		"G.711 alone":     {[]string{"m=audio 8 RTP/AVP 0"}, nil},
		"of digits":       {[]string{"m=audio 8 RTP/AVP 97 0 101", "a=rtpmap:97 red/8000", "a=fmtp:97 101/101", "a=rtpmap:101 telephone-event/8000"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			offer := mustParse(t, phone("m=video 4 RTP/AVP 96 97", append([]string{"a=rtpmap:96 VP8/90000", "a=rtpmap:97 H264/90000"}, test.audio...)...))
			x := mustOffer(t, offer, browserSide())
			if _, fmtp := numbersOf(&x.Sent.Media[1]); !slices.Equal(fmtp, test.fmtp) {
				t.Errorf("RED of %q, want %q\n%s", fmtp, test.fmtp, x.Sent.Marshal())
			}
			for _, m := range x.Sent.Media {
				for _, f := range m.Formats {
					for _, pt := range f.redundant() {
						if g := m.format(pt); g == nil || !g.CarriesMedia() {
							t.Errorf("%d holds %d, which is not there", f.PayloadType, pt)
						}
					}
				}
			}
		})
	}
}

// Of the repair of pictures none but RTX is taken: parity is made of headers that
// are not those that leave here.
func TestParityIsDeclined(t *testing.T) {
	offer := parseFile(t, "testdata/chromium-156-video.offer.sdp")
	if !strings.Contains(string(offer.Marshal()), "ulpfec/90000") {
		t.Fatal("the offer has no FEC")
	}
	for _, f := range mustOffer(t, offer, phoneSide()).Sent.Media[1].Formats {
		if f.isRepair() {
			t.Errorf("%s was offered to the phone", f.Codec)
		}
	}
	web := browserSide()
	x := mustOffer(t, offer, web)
	answer := mustParse(t, []byte(strings.ReplaceAll(string(offer.Marshal()), "a=setup:actpass", "a=setup:active")))
	reply, err := makeAnswer(x, answer, web)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []*Media{&x.Sent.Media[1], &reply.Media[1]} {
		for _, f := range m.Formats {
			if f.isRepair() && !f.isRetransmission() {
				t.Errorf("%s was agreed on", f.Codec)
			}
		}
	}
}
