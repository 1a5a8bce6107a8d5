package offeranswer

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// text joins lines as SDP has them.
func text(lines ...string) []byte { return []byte(strings.Join(lines, "\r\n") + "\r\n") }

// phone returns the description of a phone with these lines after its m= line.
func phone(mline string, lines ...string) []byte {
	head := []string{"v=0", "o=- 7 8 IN IP4 198.51.100.9", "s=-", "c=IN IP4 198.51.100.9", "t=0 0", mline}
	return text(append(head, lines...)...)
}

func mustParse(t testing.TB, text []byte) *Description {
	t.Helper()
	d, err := Parse(text)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return d
}

var compareAddresses = cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{})

func TestParseRefuses(t *testing.T) {
	const audio = "m=audio 4000 RTP/AVP 0"
	tests := []struct {
		name string
		text []byte
	}{
		{"nothing", nil},
		{"empty lines", text("", "")},
		{"no version", text("o=- 1 1 IN IP4 192.0.2.1", "s=-", audio)},
		{"version 1", text("v=1", audio)},
		{"not SDP", []byte("<html><body>v=0</body></html>")},
		{"line without type", text("v=0", "hello", audio)},
		{"NUL", text("v=0", "s=a\x00b", audio)},
		{"NUL in fmtp", phone("m=audio 4000 RTP/AVP 96", "a=fmtp:96 a\x00b")},
		{"carriage return inside a line", text("v=0", "s=a\rb", audio)},
		{"too large", append(phone(audio), make([]byte, MaxSize)...)},
		{"too many sections", phone(audio, strings.Split(strings.TrimSpace(strings.Repeat("m=video 0 RTP/AVP 96\n", MaxSections)), "\n")...)},
		{"port above 65535", phone("m=audio 65536 RTP/AVP 0")},
		{"negative port", phone("m=audio -1 RTP/AVP 0")},
		{"no port", phone("m=audio RTP/AVP 0")},
		{"no format", phone("m=audio 4000 RTP/AVP")},
		{"payload type 128", phone("m=audio 4000 RTP/AVP 128")},
		{"payload type above 32 bits", phone("m=audio 4000 RTP/AVP 4294967296")},
		{"payload type a word", phone("m=audio 4000 RTP/AVP opus")},
		{"rtpmap above 32 bits", phone(audio, "a=rtpmap:4294967296 PCMU/8000")},
		{"rtpmap without rate", phone(audio, "a=rtpmap:0 PCMU")},
		{"rtpmap with rate 0", phone(audio, "a=rtpmap:0 PCMU/0")},
		{"rtpmap with rate above 32 bits", phone(audio, "a=rtpmap:0 PCMU/4294967296")},
		{"rtpmap with 256 channels", phone(audio, "a=rtpmap:0 PCMU/8000/256")},
		{"fmtp without number", phone(audio, "a=fmtp:x y=1")},
		{"connection without address", text("v=0", "c=IN IP4", audio)},
		{"connection of another network", text("v=0", "c=ATM NSAP 47.0091", audio)},
		{"rtcp port above 65535", phone(audio, "a=rtcp:70000")},
		{"rtcp connection", phone(audio, "a=rtcp:4001 IN")},
		{"setup unknown", phone(audio, "a=setup:maybe")},
		{"setup empty", phone(audio, "a=setup:")},
		{"fingerprint without sum", phone(audio, "a=fingerprint:sha-256")},
		{"fingerprint too short", phone(audio, "a=fingerprint:sha-256 AA:BB")},
		{"fingerprint no hex", phone(audio, "a=fingerprint:sha-256 "+strings.Repeat("ZZ:", 31)+"ZZ")},
		{"mid empty", phone(audio, "a=mid:")},
		{"mid of two words", phone(audio, "a=mid:a b")},
		{"mid twice", phone(audio, "a=mid:a", "m=video 0 RTP/AVP 96", "a=mid:a")},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if d, err := Parse(test.text); !errors.Is(err, ErrMalformed) {
				t.Errorf("got %+v, %v, want %v", d, err, ErrMalformed)
			}
		})
	}
}

func TestParseAudioOfPhones(t *testing.T) {
	address := netip.MustParseAddr("198.51.100.9")
	pcmu := Format{PayloadType: 0, Codec: "PCMU", ClockRate: 8000, Channels: 1}
	pcma := Format{PayloadType: 8, Codec: "PCMA", ClockRate: 8000, Channels: 1}
	base := Media{Kind: "audio", Port: 4000, Proto: "RTP/AVP", Address: address, Formats: []Format{pcmu}}
	with := func(change func(*Media)) Media {
		m := base
		change(&m)
		return m
	}
	const audio = "m=audio 4000 RTP/AVP 0"
	tests := []struct {
		name string
		text []byte
		want Media
	}{
		{"static type without rtpmap", phone(audio), base},
		{"bare line feeds", []byte(strings.ReplaceAll(string(phone(audio)), "\r\n", "\n")), base},
		{"no last line end", []byte(strings.TrimSpace(string(phone(audio)))), base},
		{"no o=, s=, t=", text("v=0", "c=IN IP4 198.51.100.9", audio), base},
		{"media level address", text("v=0", "c=IN IP4 192.0.2.200", audio, "c=IN IP4 198.51.100.9"), base},
		{"address after attributes", text("v=0", "c=IN IP4 192.0.2.200", audio, "a=sendrecv", "c=IN IP4 198.51.100.9"), base},
		{"unknown lines", phone(audio, "k=clear:x", "i=title", "x=y", "b=WHAT:ever", "a=silenceSupp:off - - - -"), base},
		{"spaces at the end", phone(audio+" ", "a=sendrecv "), base},
		{"port count", phone("m=audio 4000/2 RTP/AVP 0"), base},
		{"format twice", phone("m=audio 4000 RTP/AVP 0 0"), base},
		{"rtpmap of an unlisted type", phone(audio, "a=rtpmap:96 opus/48000/2"), base},
		{"lower case codec", phone(audio, "a=rtpmap:0 pcmu/8000/1"), with(func(m *Media) {
			m.Formats = []Format{{PayloadType: 0, Codec: "pcmu", ClockRate: 8000, Channels: 1}}
		})},
		{"dynamic type without rtpmap", phone("m=audio 4000 RTP/AVP 8 97"), with(func(m *Media) {
			m.Formats = []Format{pcma, {PayloadType: 97}}
		})},
		{"all attributes", phone(
			"m=audio 4000 RTP/AVP 8 101", "b=AS:80", "b=RR:0", "a=rtpmap:101 telephone-event/8000", "a=fmtp:101 0-15",
			"a=ptime:20", "a=maxptime:60", "a=rtcp:4005 IN IP4 198.51.100.10", "a=sendonly", "a=rtcp-mux",
		), with(func(m *Media) {
			m.Formats = []Format{pcma, {PayloadType: 101, Codec: "telephone-event", ClockRate: 8000, Channels: 1, FMTP: "0-15"}}
			m.Bandwidth = []Bandwidth{{"AS", 80}, {"RR", 0}}
			m.Ptime, m.MaxPtime = 20*time.Millisecond, 60*time.Millisecond
			m.RTCPPort, m.RTCPAddress = 4005, netip.MustParseAddr("198.51.100.10")
			m.Direction, m.RTCPMux = SendOnly, true
		})},
		{"nonsensical ptime", phone(audio, "a=ptime:-20", "a=maxptime:99999999"), base},
		{"session level direction", text("v=0", "c=IN IP4 198.51.100.9", "a=recvonly", audio), with(func(m *Media) { m.Direction = RecvOnly })},
		{"own direction wins", text("v=0", "c=IN IP4 198.51.100.9", "a=recvonly", audio, "a=sendrecv"), base},
		{"hold by address", text("v=0", "c=IN IP4 0.0.0.0", audio), with(func(m *Media) {
			m.Address, m.Direction = netip.IPv4Unspecified(), SendOnly
		})},
		{"hold by address, receiving only", text("v=0", "c=IN IP4 0.0.0.0", audio, "a=recvonly"), with(func(m *Media) {
			m.Address, m.Direction = netip.IPv4Unspecified(), Inactive
		})},
		{"hold by address in the section", phone(audio, "c=IN IP6 ::"), with(func(m *Media) {
			m.Address, m.Direction = netip.IPv6Unspecified(), SendOnly
		})},
		{"host name is not resolved", phone(audio, "c=IN IP4 phone.example"), with(func(m *Media) { m.Address = netip.Addr{} })},
		{"address with a zone", phone(audio, "c=IN IP6 fe80::1%eth0"), with(func(m *Media) { m.Address = netip.Addr{} })},
		{"long address", phone(audio, "c=IN IP4 "+strings.Repeat("1", 2000)), with(func(m *Media) { m.Address = netip.Addr{} })},
		{"mapped address", phone(audio, "c=IN IP6 ::ffff:198.51.100.9"), base},
		{"crypto that is none", phone(audio, "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:abc"), with(func(m *Media) { m.Keyed = true })},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			d := mustParse(t, test.text)
			if len(d.Media) != 1 {
				t.Fatalf("got %d sections, want 1", len(d.Media))
			}
			if diff := cmp.Diff(test.want, d.Media[0], compareAddresses); diff != "" {
				t.Errorf("section (-want +got):\n%s", diff)
			}
			if got := d.Profile(); got != RTP {
				t.Errorf("profile: got %v, want %v", got, RTP)
			}
		})
	}
}

func TestParseBrowser(t *testing.T) {
	d := parseFile(t, "testdata/chromium-156-video.offer.sdp")
	if got := d.Profile(); got != WebRTC {
		t.Errorf("profile: got %v, want %v", got, WebRTC)
	}
	if diff := cmp.Diff([]string{"0", "1", "2"}, d.Bundle); diff != "" {
		t.Errorf("bundle (-want +got):\n%s", diff)
	}
	want := ICE{
		Ufrag:   "dP6Q",
		Pwd:     "4In8hSjHqTcifxtb+HDQnfni",
		Options: []string{"trickle"},
		Candidates: []Candidate{
			{"1089898337", 1, 2122194687, netip.MustParseAddrPort("192.0.2.2:37122"), "host", false},
			{"1199893457", 1, 2122265343, netip.MustParseAddrPort("[fd00::2]:32979"), "host", false},
		},
	}
	m := &d.Media[0]
	if diff := cmp.Diff(want, m.ICE, compareAddresses); diff != "" {
		t.Errorf("ICE (-want +got):\n%s", diff)
	}
	if m.Setup != ActPass || !m.RTCPMux || !m.RTCPReducedSize || m.Mid != "0" {
		t.Errorf("got setup %v, rtcp-mux %v, rtcp-rsize %v, mid %q", m.Setup, m.RTCPMux, m.RTCPReducedSize, m.Mid)
	}
	if diff := cmp.Diff([]SSRC{{1878553955, "J4hGvniaQSKOxMos"}}, m.SSRCs); diff != "" {
		t.Errorf("sources (-want +got):\n%s", diff)
	}
	if got := d.Media[1].format(96).Feedback; len(got) != 5 {
		t.Errorf("feedback of VP8: got %q", got)
	}
	if diff := cmp.Diff([]string{"webrtc-datachannel"}, d.Media[2].Tokens); diff != "" {
		t.Errorf("data channel (-want +got):\n%s", diff)
	}
}

func TestParseFirefoxHidesItsAddresses(t *testing.T) {
	m := &parseFile(t, "testdata/firefox-153-audio.offer.sdp").Media[0]
	if len(m.ICE.Candidates) != 0 || !m.ICE.EndOfCandidates {
		t.Errorf("candidates: got %v, end %v", m.ICE.Candidates, m.ICE.EndOfCandidates)
	}
	if f, err := m.Fingerprint(); err != nil || f.Algorithm != "sha-256" {
		t.Errorf("session level fingerprint: got %v, %v", f, err)
	}
	if m.Direction != SendRecv {
		t.Errorf("0.0.0.0 of a browser is no hold: got %v", m.Direction)
	}
	if m.RTCP().IsValid() {
		t.Errorf("RTCP to %v", m.RTCP())
	}
}

func TestParseCandidateLimits(t *testing.T) {
	lines := []string{"a=ice-ufrag:abcd"}
	for i := range 300 {
		lines = append(lines, fmt.Sprintf("a=candidate:%d 1 udp 1 198.51.100.7 %d typ host", i, 2000+i))
	}
	d := mustParse(t, phone("m=audio 9 UDP/TLS/RTP/SAVPF 0", lines...))
	if got := len(d.Media[0].ICE.Candidates); got != MaxCandidates {
		t.Errorf("candidates: got %d, want %d", got, MaxCandidates)
	}

	for _, value := range []string{
		"1 1 tcp 1518214911 198.51.100.7 9 typ host tcptype active",
		"1 1 udp 1 host.example 4000 typ host",
		"1 1 udp 1 198.51.100.7 0 typ host",
		"1 1 udp 1 198.51.100.7 65536 typ host",
		"1 1 udp 4294967296 198.51.100.7 4000 typ host",
		"1 3 udp 1 198.51.100.7 4000 typ host",
		"1 1 udp 1 198.51.100.7 4000 typ wormhole",
		"1 1 udp 1 198.51.100.7 4000 kind host",
		"1 1 udp 1 198.51.100.7 4000",
		strings.Repeat("f", 33) + " 1 udp 1 198.51.100.7 4000 typ host",
		"",
	} {
		if c, ok := parseCandidate(value); ok {
			t.Errorf("candidate %q: got %v", value, c)
		}
	}
}

// Bundle-only sections say nothing about their transport.
func TestParseSpreadsBundle(t *testing.T) {
	const sum = "3B:3C:2D:3D:B9:9F:50:A1:58:72:0F:A1:FE:4D:95:BB:9F:FE:EC:9B:FE:EC:55:0F:F3:35:68:B2:98:07:A5:49"
	d := mustParse(t, text("v=0", "a=group:BUNDLE v a",
		"m=video 9 UDP/TLS/RTP/SAVPF 96", "c=IN IP4 0.0.0.0", "a=mid:v", "a=ice-ufrag:abcd", "a=ice-pwd:0123456789abcdef012345",
		"a=fingerprint:sha-256 "+sum, "a=setup:actpass", "a=rtcp-mux",
		"m=audio 0 UDP/TLS/RTP/SAVPF 0", "c=IN IP4 0.0.0.0", "a=mid:a", "a=bundle-only",
		"m=audio 9 UDP/TLS/RTP/SAVPF 0", "a=mid:alone"))
	got, i := d.Media, 1
	if at, ok := d.Audio(); !ok || at != i {
		t.Fatalf("audio: got %d, %v, want %d", at, ok, i)
	}
	if err := got[i].check(); err != nil {
		t.Errorf("bundle-only section: %v", err)
	}
	if got[i].Setup != ActPass || got[i].ICE.Ufrag != "abcd" {
		t.Errorf("transport: got %v, %v", got[i].Setup, got[i].ICE)
	}
	if got[2].ICE.Ufrag != "" {
		t.Errorf("section outside of the group: got %v", got[2].ICE)
	}
}

func TestTargets(t *testing.T) {
	tests := []struct {
		name      string
		text      []byte
		rtp, rtcp string
	}{
		{"pair", phone("m=audio 4000 RTP/AVP 0"), "198.51.100.9:4000", "198.51.100.9:4001"},
		{"a=rtcp port", phone("m=audio 4000 RTP/AVP 0", "a=rtcp:5000"), "198.51.100.9:4000", "198.51.100.9:5000"},
		{"a=rtcp address", phone("m=audio 4000 RTP/AVP 0", "a=rtcp:5000 IN IP4 198.51.100.8"), "198.51.100.9:4000", "198.51.100.8:5000"},
		{"rtcp-mux", phone("m=audio 4000 RTP/AVP 0", "a=rtcp-mux"), "198.51.100.9:4000", "198.51.100.9:4000"},
		{"last port", phone("m=audio 65535 RTP/AVP 0"), "198.51.100.9:65535", ""},
		{"refused", phone("m=audio 0 RTP/AVP 0"), "", ""},
		{"refused with a=rtcp", phone("m=audio 0 RTP/AVP 0", "a=rtcp:5000"), "", ""},
		{"hold by address", phone("m=audio 4000 RTP/AVP 0", "c=IN IP4 0.0.0.0"), "", ""},
		{"host name", phone("m=audio 4000 RTP/AVP 0", "c=IN IP4 phone.example"), "", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m := &mustParse(t, test.text).Media[0]
			if got := m.RTP(); got != addrPortOf(test.rtp) {
				t.Errorf("RTP: got %v, want %v", got, test.rtp)
			}
			if got := m.RTCP(); got != addrPortOf(test.rtcp) {
				t.Errorf("RTCP: got %v, want %v", got, test.rtcp)
			}
		})
	}
}

func addrPortOf(s string) netip.AddrPort {
	if s == "" {
		return netip.AddrPort{}
	}
	return netip.MustParseAddrPort(s)
}

func TestProfile(t *testing.T) {
	const sum = "a=fingerprint:sha-256 3B:3C:2D:3D:B9:9F:50:A1:58:72:0F:A1:FE:4D:95:BB:9F:FE:EC:9B:FE:EC:55:0F:F3:35:68:B2:98:07:A5:49"
	const ufrag, pwd = "a=ice-ufrag:cLnC", "a=ice-pwd:YgY4vS681+ujO08IU96RzkDq"
	const key = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz"
	tests := []struct {
		name string
		text []byte
		want Profile
	}{
		{"phone", phone("m=audio 4000 RTP/AVP 0"), RTP},
		{"phone with feedback", phone("m=audio 4000 RTP/AVPF 0"), RTP},
		{"browser", phone("m=audio 9 UDP/TLS/RTP/SAVPF 0", ufrag, pwd), WebRTC},
		{"DTLS without feedback", phone("m=audio 9 UDP/TLS/RTP/SAVP 0", ufrag, pwd), WebRTC},
		{"sipML5", phone("m=audio 9 RTP/SAVPF 0", sum, ufrag, pwd), WebRTC},
		{"sipML5 with keys of both kinds", phone("m=audio 9 RTP/SAVPF 0", sum, ufrag, pwd, key), WebRTC},
		{"DTLS of a phone", phone("m=audio 9 UDP/TLS/RTP/SAVPF 0", sum), DTLS},
		{"DTLS of an old phone", phone("m=audio 9 RTP/SAVP 0", sum), DTLS},
		{"SDES", phone("m=audio 4000 RTP/SAVP 0", key), SDES},
		{"SDES with feedback", phone("m=audio 4000 RTP/SAVPF 0", key), SDES},
		{"SDES before DTLS", phone("m=audio 4000 RTP/SAVP 0", key, sum), SDES},
		{"DTLS before SDES", phone("m=audio 4000 UDP/TLS/RTP/SAVP 0", key, sum), DTLS},
		{"keys beside RTP are for who asks", phone("m=audio 4000 RTP/AVP 0", key), RTP},
		{"no good key", phone("m=audio 4000 RTP/SAVP 0", "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:abc"), Unsupported},
		{"audio decides", phone("m=video 4000 RTP/AVP 96", "m=audio 9 UDP/TLS/RTP/SAVPF 0", ufrag, pwd), WebRTC},
		{"video alone", phone("m=audio 0 RTP/SAVP 0", "m=video 4000 RTP/AVP 96"), RTP},
		{"nothing active", phone("m=audio 0 RTP/AVP 0"), Unsupported},
		{"no section", text("v=0"), Unsupported},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := mustParse(t, test.text).Profile(); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}
