package testpeer

import (
	"cmp"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// GatewayRealm is the realm and domain of the demo PBX in the gateways started here.
const GatewayRealm = "demo.example"

// GatewayConfig is what differs between the gateways of tests. NewGatewayConfig fills it.
type GatewayConfig struct {
	// Listeners, each on 127.0.0.1.
	UDP, TCP, WS, WSS, HTTP int
	// WebRTC is the first UDP port of the browsers' side; the three above it are free, too.
	WebRTC int
	// RTP and RTPLast are the range of the phones' side, both ends included.
	RTP, RTPLast int
	// PBX is the demo PBX's port; 0 for none. Its users are 1000 to 1003 with [GatewayPassword].
	PBX int
	// OutboundProxy, "host:port", gets the requests for every domain that is not the PBX's, over
	// UDP or OutboundTransport.
	OutboundProxy, OutboundTransport string
	// Breaker is the policy; auto if empty.
	Breaker string
	// AllowNextHop lists where else requests may go.
	AllowNextHop []string
	// Auth is the way in: none if empty, since most of the tests' telephones do not register.
	Auth string
	// Elements are added as they are, such as those of admission.
	Elements []string
	// LogLevel is the debug-level; DEBUG if empty.
	LogLevel string
	// AllowOrigin lists the pages that may connect; every one if empty.
	AllowOrigin []string
}

// GatewayPassword is the password of a user of the demo PBX.
func GatewayPassword(user string) string { return "secret-" + user }

// NewGatewayConfig returns a configuration with the demo PBX and no outbound proxy, whose ports are
// all free.
func NewGatewayConfig(t testing.TB) GatewayConfig {
	t.Helper()
	c := GatewayConfig{UDP: FreePort(t), TCP: FreePort(t), WS: FreePort(t), WSS: FreePort(t), HTTP: FreePort(t), PBX: FreePort(t), WebRTC: FreePorts(t, 4)}
	c.RTP = FreePorts(t, 80)
	c.RTPLast = c.RTP + 79
	return c
}

// XML is the configuration file.
func (c GatewayConfig) XML() string {
	var b strings.Builder
	element := func(name, format string, values ...any) {
		fmt.Fprintf(&b, "  <%s>%s</%s>\n", name, fmt.Sprintf(format, values...), name)
	}
	b.WriteString("<config>\n")
	element("debug-level", "%s", cmp.Or(c.LogLevel, "DEBUG"))
	for _, l := range []struct {
		protocol string
		port     int
	}{{"udp", c.UDP}, {"tcp", c.TCP}, {"ws", c.WS}, {"wss", c.WSS}, {"http", c.HTTP}} {
		element("transport", "%s;%s;%d", l.protocol, loopback, l.port)
	}
	element("rtp-port-range", "%d;%d", c.RTP, c.RTPLast)
	element("webrtc-port", "%d", c.WebRTC)
	if c.Breaker != "" {
		element("breaker", "%s", c.Breaker)
	}
	if c.OutboundProxy != "" {
		element("outbound-proxy", "*;sip:%s;transport=%s", c.OutboundProxy, cmp.Or(c.OutboundTransport, "udp"))
	}
	for _, hop := range c.AllowNextHop {
		element("allow-next-hop", "%s", hop)
	}
	origins := c.AllowOrigin
	if len(origins) == 0 {
		origins = []string{"*"}
	}
	for _, origin := range origins {
		element("allow-origin", "%s", origin)
	}
	if c.PBX != 0 {
		element("pbx", "%s;%d;%s", loopback, c.PBX, GatewayRealm)
		for _, user := range []string{"1000", "1001", "1002", "1003"} {
			element("pbx-user", "%s;%s", user, GatewayPassword(user))
		}
	}
	element("auth", "%s", cmp.Or(c.Auth, "none"))
	for _, e := range c.Elements {
		b.WriteString("  " + e + "\n")
	}
	b.WriteString("</config>\n")
	return b.String()
}

// Gateway is the program under test as a process of its own.
type Gateway struct {
	*Process
	GatewayConfig
}

// StartGateway builds cmd/webrtc2sip once in the life of the test binary (with the race detector if
// TESTPEER_RACE is set), starts it with a configuration and returns when its listeners are open.
// A data race that the detector has found fails the test.
func StartGateway(t testing.TB, c GatewayConfig) *Gateway {
	t.Helper()
	program, err := build()
	if err != nil {
		t.Fatalf("build the gateway: %v", err)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "config.xml")
	if err := os.WriteFile(file, []byte(c.XML()), 0o600); err != nil {
		t.Fatal(err)
	}
	g := &Gateway{GatewayConfig: c}
	g.Process = Start(t, "webrtc2sip", dir, program, "--config", file)
	t.Cleanup(func() {
		if g.Log.Contains("DATA RACE") || g.Log.Contains("panic:") {
			t.Errorf("the gateway crashed or raced:\n%s", g.Log.tail(24<<10))
		}
	})
	g.ready(t, "open listeners", func() bool {
		return g.HoldsTCP(c.WS) && g.HoldsTCP(c.WSS) && g.HoldsTCP(c.HTTP) && g.HoldsUDP(c.UDP) && (c.PBX == 0 || g.HoldsUDP(c.PBX))
	})
	return g
}

// URL is where WebSockets connect.
func (g *Gateway) URL() string { return "ws://" + net.JoinHostPort(loopback, strconv.Itoa(g.WS)) }

// SecureURL is where WebSockets connect over TLS; the certificate is self-signed.
func (g *Gateway) SecureURL() string {
	return "wss://" + net.JoinHostPort(loopback, strconv.Itoa(g.WSS))
}

// Page is where the phone page is.
func (g *Gateway) Page() string {
	return "http://" + net.JoinHostPort(loopback, strconv.Itoa(g.HTTP)) + "/"
}

// SIP is the gateway's UDP address, PBXAddr that of its demo PBX.
func (g *Gateway) SIP() string     { return net.JoinHostPort(loopback, strconv.Itoa(g.UDP)) }
func (g *Gateway) PBXAddr() string { return net.JoinHostPort(loopback, strconv.Itoa(g.PBX)) }

// MediaPorts lists the ports of the range of the phones' side that are open now.
func (g *Gateway) MediaPorts() []int {
	var open []int
	for _, s := range g.Sockets() {
		if s.Network == "udp" && s.Port >= g.RTP && s.Port <= g.RTPLast {
			open = append(open, s.Port)
		}
	}
	return open
}

// AwaitIdle waits until no call holds a port any more.
func (g *Gateway) AwaitIdle(t testing.TB, within time.Duration) {
	t.Helper()
	Eventually(t, within, "release of all media ports", func() bool { return len(g.MediaPorts()) == 0 })
}

var goroutineHead = regexp.MustCompile(`(?m)^goroutine \d+ [^\n]*\[[^\n]*\]:$`)

// Goroutines ends the gateway and returns the stacks of the goroutines that it had: SIGQUIT makes a
// Go program print them. It costs nothing while the gateway runs and needs no door into it.
func (g *Gateway) Goroutines(t testing.TB) []string {
	t.Helper()
	if err := g.Signal(syscall.SIGQUIT); err != nil {
		t.Fatal(err)
	}
	g.WaitExit(t, 20*time.Second)
	text := g.Log.String()
	heads := goroutineHead.FindAllStringIndex(text, -1)
	var stacks []string
	for i, h := range heads {
		end := len(text)
		if i+1 < len(heads) {
			end = heads[i+1][0]
		}
		stacks = append(stacks, text[h[0]:end])
	}
	return stacks
}

// build makes the program once; Main removes it. TESTPEER_GATEWAY names one that is built already,
// such as that of a release.
var build = sync.OnceValues(func() (string, error) {
	if program := os.Getenv("TESTPEER_GATEWAY"); program != "" {
		return program, nil
	}
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "testpeer")
	if err != nil {
		return "", err
	}
	built = dir
	program := filepath.Join(dir, "webrtc2sip")
	args := []string{"build", "-o", program}
	if os.Getenv("TESTPEER_RACE") != "" {
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args, "./cmd/webrtc2sip")...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return program, nil
})

// built is the folder that build made.
var built string

// Main runs a package's tests, removes what StartGateway built, and returns the exit status. It is
// for TestMain.
//
// Tests with peers mostly wait, for rings and pauses of the peers, so that more of them run at a time
// than the machine has cores, unless -parallel says otherwise.
func Main(m *testing.M) int {
	flag.Parse()
	chosen := false
	flag.Visit(func(f *flag.Flag) { chosen = chosen || f.Name == "test.parallel" })
	if !chosen {
		if err := flag.Set("test.parallel", strconv.Itoa(max(6, runtime.GOMAXPROCS(0)))); err != nil {
			panic(err)
		}
	}
	code := m.Run()
	if built != "" {
		os.RemoveAll(built)
	}
	return code
}
