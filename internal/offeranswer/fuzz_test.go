package offeranswer

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// seed returns the texts of the golden exchanges of one kind.
func seed(f *testing.F, kind string) [][]byte {
	f.Helper()
	paths, err := filepath.Glob("testdata/*." + kind + ".sdp")
	if err != nil || len(paths) == 0 {
		f.Fatalf("no seeds of kind %s: %v", kind, err)
	}
	var texts [][]byte
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		texts = append(texts, text)
	}
	return texts
}

// What parses can be written, and what was written parses.
func FuzzParse(f *testing.F) {
	for _, kind := range []string{"offer", "sent", "answer", "reply"} {
		for _, text := range seed(f, kind) {
			f.Add(text)
		}
	}
	f.Add(oldGateway())
	f.Fuzz(func(t *testing.T, text []byte) {
		d, err := Parse(text)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatalf("not ErrMalformed: %v", err)
			}
			return
		}
		d.Profile()
		for _, mode := range []SecurityMode{SecurityNone, SecurityMandatory} {
			taken, err := Take(d, Leg{Security: Security{Mode: mode, SDES: true, DTLS: true}})
			if err != nil && !errors.Is(err, ErrNotAcceptable) {
				t.Fatalf("taken with %v", err)
			}
			if err == nil && len(taken.Media) != len(d.Media) {
				t.Fatalf("%d sections taken of %d", len(taken.Media), len(d.Media))
			}
		}
		for i := range d.Media {
			d.Media[i].RTP()
			d.Media[i].RTCP()
			_, _ = d.Media[i].Fingerprint()
		}
		written := d.Marshal()
		// Spreading defaults over sections makes a text longer.
		if len(written) > MaxSize {
			return
		}
		if _, err := Parse(written); err != nil {
			t.Fatalf("own text does not parse: %v\n%q", err, written)
		}
	})
}

// Whatever two parties say, what we make of it is an error that is known or a
// description that parses and stays the same.
func FuzzOfferAnswer(f *testing.F) {
	answers := seed(f, "answer")
	for i, offer := range seed(f, "offer") {
		f.Add(offer, answers[i])
	}
	f.Fuzz(func(t *testing.T, offerText, answerText []byte) {
		offer, err := Parse(offerText)
		if err != nil {
			return
		}
		toOfferer := browserSide()
		if offer.Profile() == RTP {
			toOfferer = phoneSide()
		}
		for _, toAnswerer := range []Transport{browserSide(), phoneSide()} {
			x, err := makeOffer(offer, toAnswerer)
			if err != nil {
				checkError(t, err)
				continue
			}
			checkText(t, x.Sent.Marshal())
			answer, err := Parse(answerText)
			if err != nil {
				continue
			}
			reply, accepted, err := MakeAnswer(x, answer, withLines(toOfferer, len(x.Places)))
			if err != nil {
				checkError(t, err)
				continue
			}
			checkReply(t, offer, reply)
			for k, p := range x.Places {
				if accepted[k] {
					PayloadMap(&x.Offer.Media[p.Offered], &x.Sent.Media[p.Sent], &answer.Media[p.Sent])
				}
			}
			checkReoffers(t, x, answer, reply, accepted, toOfferer, toAnswerer)
		}
	})
}

// checkReoffers has either side offer once more after an exchange: no layout
// shrinks, and no two streams share a section.
func checkReoffers(t *testing.T, x Exchange, answer, reply *Description, accepted []bool, toOfferer, toAnswerer Transport) {
	t.Helper()
	toOfferer.Previous, toAnswerer.Previous = reply, x.Agreed(answer, accepted)
	checkText(t, toAnswerer.Previous.Marshal())
	reverse := make([]Place, len(x.Places))
	for k, p := range x.Places {
		reverse[k] = Place{Offered: p.Sent, Sent: p.Offered}
	}
	for _, again := range []struct {
		offer *Description
		to    Transport
		known []Place
	}{{x.Offer, toAnswerer, x.Places}, {answer, toOfferer, reverse}} {
		next, err := makeOffer(again.offer, again.to, again.known...)
		if err != nil {
			checkError(t, err)
			continue
		}
		if len(next.Sent.Media) < len(again.to.Previous.Media) {
			t.Errorf("re-offer with %d sections after %d", len(next.Sent.Media), len(again.to.Previous.Media))
		}
		used := make(map[int]bool)
		for _, p := range next.Places {
			if used[p.Sent] {
				t.Errorf("two streams in section %d", p.Sent)
			}
			used[p.Sent] = true
		}
	}
}

func checkError(t *testing.T, err error) {
	t.Helper()
	for _, known := range []error{ErrMalformed, ErrNotAcceptable, ErrNoCommonCodec} {
		if errors.Is(err, known) {
			return
		}
	}
	t.Errorf("unknown error: %v", err)
}

// checkReply does not ask the strict parser: the sections that we refuse have
// the media types and protos of the offer.
func checkReply(t *testing.T, offer, reply *Description) {
	t.Helper()
	text := reply.Marshal()
	again, err := Parse(text)
	if err != nil {
		t.Fatalf("answer does not parse: %v\n%q", err, text)
	}
	if len(again.Media) != len(offer.Media) {
		t.Errorf("sections of the answer: got %d, want %d", len(again.Media), len(offer.Media))
	}
}

// What is read of a crypto line is a key that can be used, and reads the same
// when it was written.
func FuzzCrypto(f *testing.F) {
	for _, test := range cryptoLines {
		f.Add(test.value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		c, ok := parseCrypto(value)
		if !ok {
			return
		}
		if len(c.Key) != c.Suite.Size() || c.Tag <= 0 || c.Lifetime > maxLifetime || len(c.MKI) > maxMKI {
			t.Fatalf("%q gives a key of %d octets for %s, lifetime %d, MKI of %d", value, len(c.Key), c.Suite, c.Lifetime, len(c.MKI))
		}
		again, ok := parseCrypto(c.text())
		if !ok || !again.Equal(c) || again.Tag != c.Tag || again.Lifetime != c.Lifetime {
			t.Fatalf("%q is written as %q, which reads otherwise", value, c.text())
		}
	})
}
