package offeranswer

import (
	"os"
	"testing"
)

func BenchmarkParse(b *testing.B) {
	for _, name := range []string{"chromium-156-audio", "chromium-156-video", "sipp-static"} {
		b.Run(name, func(b *testing.B) {
			text, err := os.ReadFile("testdata/" + name + ".offer.sdp")
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Parse(text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkMakeOffer(b *testing.B) {
	offer := parseFile(b, "testdata/chromium-156-video.offer.sdp")
	b.ReportAllocs()
	for b.Loop() {
		mustOffer(b, offer, phoneSide()).Sent.Marshal()
	}
}

func BenchmarkMakeAnswer(b *testing.B) {
	offer := parseFile(b, "testdata/chromium-156-video.offer.sdp")
	answer := parseFile(b, "testdata/chromium-156-video.answer.sdp")
	x := mustOffer(b, offer, phoneSide())
	endpoint := browserSide()
	b.ReportAllocs()
	for b.Loop() {
		reply, err := makeAnswer(x, answer, endpoint)
		if err != nil {
			b.Fatal(err)
		}
		reply.Marshal()
	}
}
