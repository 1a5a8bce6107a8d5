//go:build integration

package testpeer

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// collector is a HOMER that keeps what comes.
type collector struct {
	conn net.PacketConn
	read chan struct{} // closed when readLoop has ended

	mu      sync.Mutex
	packets [][]byte
}

func newCollector(t testing.TB) *collector {
	t.Helper()
	conn, err := net.ListenPacket("udp4", loopback+":0")
	if err != nil {
		t.Fatal(err)
	}
	c := &collector{conn: conn, read: make(chan struct{})}
	go c.readLoop()
	t.Cleanup(func() {
		conn.Close()
		<-c.read
	})
	return c
}

// readLoop ends when the socket is closed.
func (c *collector) readLoop() {
	defer close(c.read)
	buf := make([]byte, 64<<10)
	for {
		n, _, err := c.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		c.mu.Lock()
		c.packets = append(c.packets, bytes.Clone(buf[:n]))
		c.mu.Unlock()
	}
}

// element has everything sent here as capture agent 2001.
func (c *collector) element() string {
	return fmt.Sprintf("<hep>%s;%d;udp;2001</hep>", loopback, c.conn.LocalAddr().(*net.UDPAddr).Port)
}

// holding returns the packets that hold every text.
func (c *collector) holding(texts ...string) (found [][]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
next:
	for _, p := range c.packets {
		for _, text := range texts {
			if !bytes.Contains(p, []byte(text)) {
				continue next
			}
		}
		found = append(found, p)
	}
	return found
}

// TestIntegrationObserved: the collector gets a call's messages without its credentials and the
// figures of its media, the metrics count it, the operator sees it and follows one user of two.
func TestIntegrationObserved(t *testing.T) {
	t.Parallel()
	homer := newCollector(t)
	config := NewGatewayConfig(t)
	config.Elements = []string{homer.element(), "<debug-level>INFO</debug-level>"} // the last one counts
	admin := openDoor(t, &config)
	g := StartGateway(t, config)
	followed, other := g.user(t, "1000"), g.user(t, "1001")
	followed.register(600)
	other.register(600)
	if status, text := admin.ask(http.MethodPost, "/api/trace", `{"pattern":"1000","seconds":60}`); status != 201 {
		t.Fatalf("trace: %d %s", status, text)
	}
	other.talk("sip:600@"+GatewayRealm, "PCMU")
	if g.Log.Contains("INVITE sip:600@") {
		t.Error("messages of another are in the log")
	}
	c := followed.call("sip:600@"+GatewayRealm, newWebMedia(t, 700, "PCMU"))
	c.awaitAnswer()
	c.media.awaitTone(700)
	var calls struct {
		Calls []struct {
			SIPCallID string `json:"sip_call_id"`
			State     string `json:"state"`
		}
		Total int
	}
	admin.get("/api/calls", &calls)
	if calls.Total != 1 || len(calls.Calls) != 1 || calls.Calls[0].State != "up" {
		t.Errorf("calls %+v, want one that is up", calls)
	}
	c.hangUp()
	Eventually(t, 5*time.Second, "followed INVITE in the log", func() bool { return g.Log.Contains("INVITE sip:600@") })
	g.AwaitIdle(t, 10*time.Second)
	homer.expect(t, c.id)
	if status, text := admin.ask(http.MethodGet, "/metrics", ""); status != 200 || !strings.Contains(text, `webrtc2sip_calls 0`) ||
		!strings.Contains(text, "webrtc2sip_calls_total") || !strings.Contains(text, `method="INVITE"`) {
		t.Errorf("metrics %d:\n%s", status, text)
	}
	if status, _ := admin.ask(http.MethodDelete, "/api/trace?pattern=1000", ""); status != 204 {
		t.Errorf("end of the trace: %d", status)
	}
}

// proof is the answer to a challenge (RFC 7616 §3.4.1).
var proof = regexp.MustCompile(`response="?[0-9a-f]{32}`)

// expect waits for what HOMER has to get of one call.
func (c *collector) expect(t *testing.T, callID string) {
	t.Helper()
	for what, texts := range map[string][]string{
		"INVITE": {"INVITE sip:600@", callID}, "challenge": {"SIP/2.0 407", callID}, "BYE": {"BYE sip:", callID},
		"report of the media": {`"ssrc"`, callID},
	} {
		Eventually(t, 5*time.Second, what+" at the collector", func() bool { return len(c.holding(texts...)) > 0 })
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.packets {
		if !bytes.HasPrefix(p, []byte("HEP3")) {
			t.Fatalf("no HEP version 3: %q", p)
		}
		if proof.Match(p) {
			t.Errorf("credentials went to the collector: %q", p)
		}
	}
}
