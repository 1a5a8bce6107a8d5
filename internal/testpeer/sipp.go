package testpeer

import (
	"embed"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// scenarios are SIPp's scripts, one call each; the comment in each says what it does. Those with
// macros in them are expanded first, see script.
//
//go:embed testdata/sipp/*.xml
var scenarios embed.FS

// SIPp is a SIPp that runs one scenario over UDP or TCP and echoes RTP.
type SIPp struct {
	*Process
	// Port is its SIP port; Media its RTP port. What arrives at Media, and at the port two above,
	// goes back to its sender (-rtp_echo).
	Port, Media int

	host, trace string
}

// SIPpOptions are the arguments of StartSIPp that have useful zero values.
type SIPpOptions struct {
	// Remote is where a UAC sends its INVITE, "127.0.0.1:5060"; empty for a UAS.
	Remote string
	// User is the user part that a UAC calls.
	User string
	// TCP makes it speak over one TCP connection instead of UDP.
	TCP bool
	// IPv6 puts it on ::1 instead of 127.0.0.1.
	IPv6 bool
	// Account and Password are for scenarios that authenticate, as Account@Domain.
	Account, Password, Domain string
	// Keys are texts that the scenario has as [name].
	Keys map[string]string
	// Calls is the number of calls after which SIPp ends with status 0; 1 if zero. With a
	// negative number SIPp serves until it is stopped.
	Calls int
}

// StartSIPp starts a scenario of testdata/sipp, named without ".xml", and returns when its SIP and
// RTP ports are open.
func StartSIPp(t testing.TB, scenario string, o SIPpOptions) *SIPp {
	t.Helper()
	program := Require(t, "sipp")
	dir := t.TempDir()
	text, err := scenarios.ReadFile("testdata/sipp/" + scenario + ".xml")
	if err != nil {
		t.Fatal(err)
	}
	expanded, err := expand(string(text))
	if err != nil {
		t.Fatalf("%s: %v", scenario, err)
	}
	file := filepath.Join(dir, scenario+".xml")
	if err := os.WriteFile(file, []byte(expanded), 0o600); err != nil {
		t.Fatal(err)
	}
	// Four media ports: RTP, RTCP and the same two above (SIPp's "video").
	s := &SIPp{Port: FreePort(t), Media: FreePorts(t, 4), host: loopback, trace: filepath.Join(dir, "messages.log")}
	if o.IPv6 {
		s.host = "::1"
	}
	t.Cleanup(func() { // after the process has ended, which is a later cleanup and so runs earlier
		if t.Failed() {
			t.Logf("--- SIPp %s exchanged:\n%s", scenario, s.Messages())
		}
	})
	s.Process = Start(t, "sipp "+scenario, dir, program, s.arguments(t, file, o)...)
	if o.Remote == "" {
		s.ready(t, "listening", func() bool {
			return (s.HoldsUDP(s.Port) || o.TCP && s.HoldsTCP(s.Port)) && s.HoldsUDP(s.Media)
		})
	}
	return s
}

func (s *SIPp) arguments(t testing.TB, file string, o SIPpOptions) []string {
	args := []string{
		"-sf", file, "-nostdin", "-i", s.host, "-mi", s.host, "-ci", loopback,
		"-p", strconv.Itoa(s.Port), "-mp", strconv.Itoa(s.Media), "-cp", strconv.Itoa(FreePort(t)),
		"-rtp_echo", "-trace_msg", "-message_file", s.trace,
		"-trace_err", "-error_file", filepath.Join(filepath.Dir(file), "errors.log"),
	}
	if o.TCP {
		args = append(args, "-t", "t1")
	}
	if o.Account != "" {
		args = append(args, "-au", o.Account, "-ap", o.Password, "-key", "account", o.Account, "-key", "domain", o.Domain)
	}
	for name, text := range o.Keys {
		args = append(args, "-key", name, text)
	}
	if o.Calls >= 0 {
		args = append(args, "-m", strconv.Itoa(max(o.Calls, 1)))
	}
	if o.Remote == "" {
		return args
	}
	return append(args, "-s", o.User, o.Remote)
}

// Messages returns the SIP messages that SIPp has sent and received so far.
func (s *SIPp) Messages() string {
	text, err := os.ReadFile(s.trace)
	if err != nil {
		return ""
	}
	return string(text)
}

// Succeeds waits until all calls are over and fails the test if one did not go as the scenario says.
func (s *SIPp) Succeeds(t testing.TB, within time.Duration) {
	t.Helper()
	if code := s.WaitExit(t, within); code != 0 {
		t.Fatalf("%s: status %d, the call left the scenario", s.Name, code)
	}
}

// Addr is where it listens for SIP, "127.0.0.1:port" or "[::1]:port".
func (s *SIPp) Addr() string { return net.JoinHostPort(s.host, strconv.Itoa(s.Port)) }

// URI is SIPp's address of record, for a UAS that is called directly.
func (s *SIPp) URI(user string) string {
	return fmt.Sprintf("sip:%s@%s", user, s.Addr())
}
