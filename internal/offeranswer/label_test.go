package offeranswer

import (
	"net/netip"
	"strings"
	"testing"
)

// TestLabel: a section's label is written, read, and given to no other side.
func TestLabel(t *testing.T) {
	d := &Description{
		Origin: Origin{SessionID: 1, Address: netip.MustParseAddr("192.0.2.1")}, Address: netip.MustParseAddr("192.0.2.1"),
		Media: []Media{{Kind: "audio", Port: 4000, Proto: "RTP/AVP", Label: "1", Direction: SendOnly, Formats: []Format{{PayloadType: 0, Codec: "PCMU", ClockRate: 8000, Channels: 1}}}},
	}
	text := string(d.Marshal())
	if !strings.Contains(text, "\r\na=label:1\r\n") {
		t.Errorf("no label in\n%s", text)
	}
	again, err := Parse([]byte(text))
	if err != nil || again.Media[0].Label != "1" {
		t.Fatalf("got %+v, %v", again, err)
	}
	sent, err := MakeOffer(again, []Place{{}}, Transport{Profile: RTP, Lines: []Line{{Port: 5000}}, Address: d.Address})
	if err != nil || sent.Media[0].Label != "" {
		t.Errorf("got %+v, %v, want an offer without a label", sent, err)
	}
}
