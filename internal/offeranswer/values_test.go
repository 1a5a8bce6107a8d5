package offeranswer

import (
	"crypto"
	"errors"
	"net/netip"
	"testing"
)

func TestDirection(t *testing.T) {
	tests := []struct {
		d, reverse      Direction
		sends, receives bool
		name            string
	}{
		{SendRecv, SendRecv, true, true, "sendrecv"},
		{SendOnly, RecvOnly, true, false, "sendonly"},
		{RecvOnly, SendOnly, false, true, "recvonly"},
		{Inactive, Inactive, false, false, "inactive"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := test.d.Reverse(); got != test.reverse {
				t.Errorf("reverse: got %v, want %v", got, test.reverse)
			}
			if test.d.Sends() != test.sends || test.d.Receives() != test.receives {
				t.Errorf("sends %v, receives %v", test.d.Sends(), test.d.Receives())
			}
			if got := test.d.String(); got != test.name {
				t.Errorf("name: got %q", got)
			}
			// What a party may answer to d is at most what it can do with d.
			if got, want := SendRecv.Limit(test.d), test.reverse; got != want {
				t.Errorf("limit: got %v, want %v", got, want)
			}
		})
	}
	if got := Direction(9).String(); got != "unknown" {
		t.Errorf("no direction: got %q", got)
	}
}

func TestNames(t *testing.T) {
	for got, want := range map[string]string{
		Caller.String():         "caller",
		Callee.String():         "callee",
		Caller.Other().String(): "callee",
		Callee.Other().String(): "caller",
		Side(7).String():        "Side(7)",
		RTP.String():            "rtp",
		WebRTC.String():         "webrtc",
		Unsupported.String():    "unsupported",
		Profile(7).String():     "Profile(7)",
		ActPass.String():        "actpass",
		SetupUnset.String():     "",
		Setup(99).String():      "unknown",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestMaySend(t *testing.T) {
	const public, loopback, private, six = "198.51.100.1", "127.0.0.1", "10.0.0.1", "2001:db8::1"
	tests := []struct {
		name, to, local string
		want            bool
	}{
		{"public", "203.0.113.5:4000", public, true},
		{"private", "10.1.2.3:4000", public, true},
		{"lowest port", "203.0.113.5:1024", public, true},
		{"IPv6", "[2001:db8::2]:4000", six, true},
		{"loopback from loopback", "127.0.0.1:4000", loopback, true},
		{"IPv6 loopback from loopback", "[::1]:4000", "::1", true},
		{"local unknown", "203.0.113.5:4000", "", true},
		{"loopback from outside", "127.0.0.1:4000", public, false},
		{"loopback from private", "127.8.8.8:4000", private, false},
		{"loopback, local unknown", "127.0.0.1:4000", "", false},
		{"mapped loopback", "[::ffff:127.0.0.1]:4000", public, false},
		{"IPv6 loopback", "[::1]:4000", six, false},
		{"metadata", "169.254.169.254:4000", public, false},
		{"mapped metadata", "[::ffff:169.254.169.254]:4000", public, false},
		{"translated metadata", "[64:ff9b::a9fe:a9fe]:4000", six, false},
		{"6to4 metadata", "[2002:a9fe:a9fe::1]:4000", six, false},
		{"IPv6 metadata", "[fd00:ec2::254]:4000", six, false},
		{"link local", "[fe80::1]:4000", six, false},
		{"multicast", "224.0.0.1:4000", public, false},
		{"IPv6 multicast", "[ff02::1]:4000", six, false},
		{"broadcast", "255.255.255.255:4000", public, false},
		{"unspecified", "0.0.0.0:4000", public, false},
		{"IPv6 unspecified", "[::]:4000", six, false},
		{"this network", "0.1.2.3:4000", public, false},
		{"reserved", "240.0.0.1:4000", public, false},
		{"ssh", "203.0.113.5:22", public, false},
		{"port 0", "203.0.113.5:0", public, false},
		{"other family", "[2001:db8::2]:4000", public, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var local netip.Addr
			if test.local != "" {
				local = netip.MustParseAddr(test.local)
			}
			if got := MaySend(netip.MustParseAddrPort(test.to), local); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
	if MaySend(netip.AddrPort{}, netip.MustParseAddr(public)) {
		t.Error("no address: got true, want false")
	}
}

func TestFingerprint(t *testing.T) {
	der, other := []byte("certificate"), []byte("other certificate")
	weak := Fingerprint{"sha-1", "3B:3C:2D:3D:B9:9F:50:A1:58:72:0F:A1:FE:4D:95:BB:9F:FE:EC:9B"}
	strong := Fingerprint{"sha-512", colonHex(digest(crypto.SHA512, der))}
	own := NewFingerprint(der)
	tests := []struct {
		name    string
		written []Fingerprint
		want    Fingerprint
		err     error
	}{
		{"one", []Fingerprint{own}, own, nil},
		{"one twice", []Fingerprint{own, own}, own, nil},
		{"the stronger hash", []Fingerprint{weak, own, strong}, strong, nil},
		{"the stronger hash first", []Fingerprint{strong, own}, strong, nil},
		{"none", nil, Fingerprint{}, ErrNotAcceptable},
		{"weak", []Fingerprint{weak}, Fingerprint{}, ErrNotAcceptable},
		{"two certificates", []Fingerprint{own, NewFingerprint(other)}, Fingerprint{}, ErrNotAcceptable},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := (&Media{Fingerprints: test.written}).Fingerprint()
			if got != test.want || !errors.Is(err, test.err) {
				t.Errorf("got %v, %v, want %v, %v", got, err, test.want, test.err)
			}
			if err == nil && (!got.Matches(der) || got.Matches(other)) {
				t.Errorf("certificate: %v, other: %v", got.Matches(der), got.Matches(other))
			}
		})
	}
	if weak.Matches(der) || (Fingerprint{}).Matches(der) {
		t.Error("a fingerprint without a good hash matches")
	}
	if f, err := parseFingerprint("SHA-256 " + own.Sum); err != nil || f != own {
		t.Errorf("upper case hash: got %v, %v", f, err)
	}
}

func TestCandidate(t *testing.T) {
	tests := []struct {
		name string
		c    Candidate
		want string
	}{
		{"first", HostCandidate(netip.MustParseAddrPort("192.0.2.1:10066"), 0), "1 1 udp 2130706431 192.0.2.1 10066 typ host"},
		{"second", HostCandidate(netip.MustParseAddrPort("[2001:db8::1]:10066"), 1), "2 1 udp 2130706175 2001:db8::1 10066 typ host"},
		{"reflexive", ReflexiveCandidate(netip.MustParseAddrPort("192.0.2.1:10066"), 1), "25601 1 udp 1694498559 192.0.2.1 10066 typ srflx raddr 0.0.0.0 rport 0"},
		{"passive", PassiveCandidate(netip.MustParseAddrPort("192.0.2.1:443"), 0), "23040 1 tcp 1520435199 192.0.2.1 443 typ host tcptype passive"},
		{"relay", RelayCandidate(netip.MustParseAddrPort("192.0.2.9:50000"), 0), "512 1 udp 50331647 192.0.2.9 50000 typ relay raddr 0.0.0.0 rport 0"},
		{
			"foreign reflexive",
			Candidate{"x", 1, 99, netip.MustParseAddrPort("192.0.2.1:10066"), "srflx", false},
			"x 1 udp 99 192.0.2.1 10066 typ srflx raddr 0.0.0.0 rport 0",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := test.c.String(); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
			// Others' TCP candidates are not used.
			if got, ok := parseCandidate(test.want); ok == test.c.TCP || ok && got != test.c {
				t.Errorf("read back: got %v, %v, want %v", got, ok, test.c)
			}
		})
	}
}

func TestSetupAnswer(t *testing.T) {
	for offered, want := range map[Setup]Setup{ActPass: Active, Active: Passive, Passive: Active, SetupUnset: Passive} {
		if got := offered.Answer(); got != want {
			t.Errorf("%v: got %v, want %v", offered, got, want)
		}
	}
}
