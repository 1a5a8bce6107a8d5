package offeranswer

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// The first is the example of RFC 8840 §9.3, with literal addresses.
const trickled = "a=group:BUNDLE foo bar\r\na=ice-ufrag:9uB6\r\na=ice-pwd:YH75Fviy6338Vbrhrlp8Yh\r\n" +
	"m=audio 9 RTP/AVP 0\r\na=mid:foo\r\na=candidate:1 1 UDP 2130706432 2001:db8:a0b:12f0::1 5000 typ host\r\n" +
	"a=candidate:2 1 UDP 1694498815 192.0.2.3 5000 typ srflx raddr 10.0.1.1 rport 8998\r\n" +
	"a=candidate:3 1 udp 99 0ecc4e4c-1a7b-4d5c-9a3f-1d1f5ba4fb07.local 5000 typ host\r\n" +
	"a=candidate:4 1 tcp 99 192.0.2.3 9 typ host tcptype active\r\na=end-of-candidates\r\n" +
	"m=audio 9 RTP/AVP 0\r\na=mid:bar\r\na=end-of-candidates\r\n"

func TestParseFragment(t *testing.T) {
	many := strings.Repeat("a=candidate:1 1 udp 1 192.0.2.1 5000 typ host\n", 100)
	for _, test := range []struct {
		name, text, ufrag string
		candidates        int
		end, wrong        bool
	}{
		{"example", trickled, "9uB6", 2, true, false},
		{"credentials in the section", "m=audio 9 RTP/AVP 0\na=ice-ufrag:abcd\na=candidate:1 1 udp 1 192.0.2.1 5000 typ host\n", "abcd", 1, false, false},
		{"sections of two transports", "m=audio 9 RTP/AVP 0\na=ice-ufrag:abcd\nm=video 9 RTP/AVP 0\na=ice-ufrag:efgh\na=candidate:1 1 udp 1 192.0.2.1 5000 typ host\n", "abcd", 0, false, false},
		{"end alone", "a=ice-ufrag:abcd\na=end-of-candidates\n", "abcd", 0, true, false},
		{"no credentials", "m=audio 9 RTP/AVP 0\na=candidate:1 1 udp 1 192.0.2.1 5000 typ host", "", 1, false, false},
		{"too many", "m=audio 9 RTP/AVP 0\n" + many, "", MaxCandidates, false, false},
		{"empty", "", "", 0, false, false},
		{"no SDP", "<xml/>", "", 0, false, true},
		{"a ufrag that is none", "a=ice-ufrag:a b\n", "", 0, false, true},
		{"too long", strings.Repeat("\n", MaxSize+1), "", 0, false, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			f, err := ParseFragment([]byte(test.text))
			if test.wrong {
				if !errors.Is(err, ErrMalformed) {
					t.Errorf("got %v, want ErrMalformed", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got, want := fmt.Sprint(f.Ufrag, len(f.Candidates), f.End), fmt.Sprint(test.ufrag, test.candidates, test.end); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}

func FuzzParseFragment(f *testing.F) {
	f.Add([]byte(trickled))
	f.Add([]byte("a=ice-ufrag:abcd\na=end-of-candidates\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		fragment, err := ParseFragment(text)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatalf("not ErrMalformed: %v", err)
			}
			return
		}
		if len(fragment.Candidates) > MaxCandidates {
			t.Errorf("%d candidates", len(fragment.Candidates))
		}
		for _, c := range fragment.Candidates {
			if !c.Address.IsValid() || c.Address.Port() == 0 || c.TCP {
				t.Errorf("candidate %s", c)
			}
		}
	})
}
