package proxy

import (
	"errors"
	"testing"
)

func TestTokens(t *testing.T) {
	ours, others := newTokens(), newTokens()
	want := token{flow: 7, call: 1 << 63}
	text := ours.encode(want)
	got, err := ours.decode(text)
	if err != nil || got != want {
		t.Fatalf("decode(encode(%v)): got %v, %v", want, got, err)
	}
	changed := []byte(text)
	changed[len(tokenMark)+3] ^= 1
	for name, bad := range map[string]string{
		"another process": others.encode(want),
		"one bit changed": string(changed),
		"cut":             text[:len(text)-1],
		"longer":          text + "A",
		"no mark":         text[len(tokenMark):],
		"empty":           "",
		"not base64":      tokenMark + "************************************",
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := ours.decode(bad); !errors.Is(err, errForged) {
				t.Errorf("decode(%q): got %v, want %v", bad, err, errForged)
			}
		})
	}
}

func BenchmarkTokenDecode(b *testing.B) {
	ours := newTokens()
	text := ours.encode(token{flow: 7, call: 9})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ours.decode(text); err != nil {
			b.Fatal(err)
		}
	}
}
