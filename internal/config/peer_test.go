package config

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestPeers(t *testing.T) {
	both := SRTP{SDES: true, DTLS: true}
	tests := []struct {
		name string
		file string
		srtp SRTP
		want []PeerPolicy
	}{
		{"nothing", "", both, nil},
		{"2.7's sample", "<srtp-mode>optional</srtp-mode><srtp-type>sdes;dtls</srtp-type>", SRTP{Mode: SRTPOptional, SDES: true, DTLS: true}, nil},
		{"one type", "<srtp-type>dtls</srtp-type>", SRTP{DTLS: true, DTLSFirst: true}, nil},
		{"order", "<srtp-type>DTLS; SDES</srtp-type>", SRTP{SDES: true, DTLS: true, DTLSFirst: true}, nil},
		{"address", "<peer>192.0.2.7;srtp-mode=mandatory</peer>", both, []PeerPolicy{
			{Prefix: netip.MustParsePrefix("192.0.2.7/32"), SRTP: SRTP{Mode: SRTPMandatory, SDES: true, DTLS: true}, Line: 1},
		}},
		{"prefix", "<peer>2001:db8::/32 ; srtp-mode = best-effort ; srtp-type = dtls,sdes ; avpf = yes</peer>", both, []PeerPolicy{
			{Prefix: netip.MustParsePrefix("2001:db8::/32"), SRTP: SRTP{Mode: SRTPBestEffort, SDES: true, DTLS: true, DTLSFirst: true, Feedback: true}, Line: 1},
		}},
		{"what it leaves out is the file's, also behind it", "<peer>pbx.example.net;srtp-type=sdes</peer><srtp-mode>optional</srtp-mode>", SRTP{Mode: SRTPOptional, SDES: true, DTLS: true}, []PeerPolicy{
			{Host: "pbx.example.net", SRTP: SRTP{Mode: SRTPOptional, SDES: true}, Line: 1},
		}},
		{"number", "<peer>+49*;srtp-mode=none</peer><srtp-mode>mandatory</srtp-mode>", SRTP{Mode: SRTPMandatory, SDES: true, DTLS: true}, []PeerPolicy{
			{Numbers: "+49", SRTP: both, Line: 1},
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c, err := parse(test.file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.srtp, c.SRTP); diff != "" {
				t.Errorf("of the file (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.want, c.Peers, cmpopts.IgnoreUnexported(PeerPolicy{}), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
				cmpopts.IgnoreFields(PeerPolicy{}, "Line")); diff != "" {
				t.Errorf("peers (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPeersRefused(t *testing.T) {
	for file, want := range map[string]string{
		"<srtp-mode>some</srtp-mode>":                       "no such mode",
		"<srtp-type>zrtp</srtp-type>":                       "no such way",
		"<srtp-type>;</srtp-type>":                          "no way to agree",
		"<peer>;srtp-mode=none</peer>":                      "no host name",
		"<peer>+49;srtp-mode=none</peer>":                   "ends in *",
		"<peer>192.0.2.7/24</peer>":                         "192.0.2.0/24 is meant",
		"<peer>a.example;srtp-mode</peer>":                  "no key of a peer",
		"<peer>a.example;color=blue</peer>":                 "no key of a peer",
		"<peer>a.example;srtp-mode=some</peer>":             "none, best-effort, optional or mandatory",
		"<peer>a.example;avpf=some</peer>":                  "yes or no",
		"<peer>a.example</peer><peer>A.example.</peer>":     "there already",
		"<peer>*;srtp-mode=none</peer>":                     "no prefix of a number",
		"<peer>a.example;srtp-type=sdes,none</peer>":        "both with a comma",
		"<peer>+49*</peer><peer>+49*;srtp-mode=none</peer>": "there already",
	} {
		if _, err := parse(file); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", file, err, want)
		}
	}
}
