package proxy

import (
	"errors"
	"strings"
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
	flip := func(at int) string {
		changed := []byte(text)
		if c := &changed[len(tokenMark)+at]; *c == 'A' {
			*c = 'B'
		} else {
			*c = 'A'
		}
		return string(changed)
	}
	for name, bad := range map[string]struct {
		text string
		want error
	}{
		"another process":            {others.encode(want), errStale},
		"one character of the epoch": {flip(3), errStale},
		"one character of the flow":  {flip(5), errForged},
		"one character of the MAC":   {flip(tokenText - 2), errForged},
		"cut":                        {text[:len(text)-1], errForged},
		"longer":                     {text + "A", errForged},
		"no mark":                    {text[len(tokenMark):], errForged},
		"empty":                      {"", errForged},
		"not base64, right length":   {tokenMark + strings.Repeat("*", tokenText), errForged},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := ours.decode(bad.text); !errors.Is(err, bad.want) {
				t.Errorf("decode(%q): got %v, want %v", bad.text, err, bad.want)
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
