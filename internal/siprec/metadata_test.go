package siprec

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestMetadata compares documents with those in testdata, which have the elements of RFC 7865 §10 in their order.
func TestMetadata(t *testing.T) {
	parties := [2]member{{"cGFydGljaXBhbnQtMDAwMQ==", Participant{"sip:alice@example.org:5060;transport=ws", `Alice "A" <&> Liddell`}}, {"cGFydGljaXBhbnQtMDAwMg==", Participant{"sip:+4930123@example.net", ""}}}
	start := time.Date(2026, 11, 21, 12, 0, 0, 5, time.FixedZone("CET", 3600))
	for name, streams := range map[string][]track{
		"call":     {{"c3RyZWFtLTAwMDAwMDAwMQ==", "1", caller, true}, {"c3RyZWFtLTAwMDAwMDAwMg==", "2", callee, true}},
		"held":     {{"c3RyZWFtLTAwMDAwMDAwMQ==", "1", caller, true}, {"c3RyZWFtLTAwMDAwMDAwMg==", "2", callee, false}},
		"pictures": {{"c3RyZWFtLTAwMDAwMDAwMQ==", "1", caller, true}, {"c3RyZWFtLTAwMDAwMDAwMg==", "2", callee, true}, {"c3RyZWFtLTAwMDAwMDAwMw==", "3", caller, true}},
	} {
		t.Run(name, func(t *testing.T) {
			s := snapshot{session: "c2Vzc2lvbi0wMDAwMDAwMQ==", start: start, participants: parties, streams: streams}
			got, file := s.document(), filepath.Join("testdata", name+".xml")
			if *update {
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}
