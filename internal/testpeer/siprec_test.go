//go:build integration

package testpeer

import (
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtp"
)

// soundSink takes RTP of PCMU, as a recording server does.
type soundSink struct {
	conn *net.UDPConn

	mu  sync.Mutex
	pcm []int16 // the last second
}

func newSoundSink(t *testing.T) *soundSink {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(loopback)})
	if err != nil {
		t.Fatal(err)
	}
	s := &soundSink{conn: conn}
	var reader sync.WaitGroup
	reader.Go(s.readLoop)
	t.Cleanup(func() {
		_ = conn.Close()
		reader.Wait()
	})
	return s
}

// readLoop ends when the socket is closed.
func (s *soundSink) readLoop() {
	b := make([]byte, 2048)
	for {
		n, err := s.conn.Read(b)
		if err != nil {
			return
		}
		var p rtp.Packet
		if p.Unmarshal(b[:n]) != nil || p.PayloadType != 0 {
			continue
		}
		s.mu.Lock()
		for _, sample := range p.Payload {
			s.pcm = append(s.pcm, DecodeMuLaw(sample))
		}
		s.pcm = s.pcm[max(0, len(s.pcm)-8000):]
		s.mu.Unlock()
	}
}

func (s *soundSink) port() string { return strconv.Itoa(s.conn.LocalAddr().(*net.UDPAddr).Port) }

// awaitTone waits for a tone in most of a second.
func (s *soundSink) awaitTone(t *testing.T, frequency float64) {
	t.Helper()
	Eventually(t, 30*time.Second, fmt.Sprintf("%g Hz at the recording server", frequency), func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		got, share := Tone(s.pcm, 8000, 300, 440, 700, 1000)
		return len(s.pcm) == 8000 && got == frequency && share > 0.8
	})
}

// TestIntegrationRecordingServer has a call recorded at a server and in files: each side comes on a port of its own, and
// the end is told.
func TestIntegrationRecordingServer(t *testing.T) {
	t.Parallel()
	left, right := newSoundSink(t), newSoundSink(t)
	srs := StartSIPp(t, "uas-siprec", SIPpOptions{Keys: map[string]string{"left": left.port(), "right": right.port()}})
	config := NewGatewayConfig(t)
	dir := recordingFolder(t, &config, "<record>all</record>", "<siprec>sip:recorder@"+srs.Addr()+"</siprec>")
	admin := openDoor(t, &config)
	g := StartGateway(t, config)
	p := g.user(t, "1000")
	p.register(600)
	c := p.call("sip:601@"+GatewayRealm, newWebMedia(t, 1000, "PCMU", "dtmf"))
	c.awaitAnswer()
	c.media.awaitTone(440)
	left.awaitTone(t, 1000)
	right.awaitTone(t, 440)
	if status, text := admin.ask(http.MethodGet, "/metrics", ""); status != 200 || !strings.Contains(text, "webrtc2sip_siprec_sessions 1") {
		t.Errorf("metrics: %d, without the session:\n%s", status, text)
	}
	c.hangUp()
	srs.Succeeds(t, 20*time.Second)
	g.AwaitIdle(t, 10*time.Second)
	if told := awaitCards(t, dir, 1)[0]; told.State != "complete" || len(told.Files) != 1 {
		t.Errorf("got %+v, want the files as well", told)
	}
	if status, text := admin.ask(http.MethodGet, "/metrics", ""); status != 200 || !strings.Contains(text, "webrtc2sip_siprec_failures_total 0") {
		t.Errorf("metrics: %d, with a failure:\n%s", status, text)
	}
}

// unwilling is a SIP server that answers an INVITE with what refuse makes of it, if anything. It gives where it is, and
// what is closed when the first INVITE has come.
func unwilling(t *testing.T, status string) (addr string, invited <-chan struct{}) {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(loopback)})
	if err != nil {
		t.Fatal(err)
	}
	came := make(chan struct{})
	var once sync.Once
	var server sync.WaitGroup
	server.Go(func() {
		b := make([]byte, 65536)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			if request := string(b[:n]); strings.HasPrefix(request, "INVITE ") {
				once.Do(func() { close(came) })
				if status != "" {
					_, _ = conn.WriteToUDPAddrPort([]byte(refusalOf(request, status)), from) // it is asked again
				}
			}
		}
	})
	t.Cleanup(func() {
		_ = conn.Close()
		server.Wait()
	})
	return conn.LocalAddr().String(), came
}

// refusalOf answers a request.
func refusalOf(request, status string) string {
	answer := "SIP/2.0 " + status + "\r\n"
	for line := range strings.SplitSeq(request, "\r\n") {
		switch name, _, _ := strings.Cut(line, ":"); name {
		case "Via", "From", "Call-ID", "CSeq":
			answer += line + "\r\n"
		case "To":
			answer += line + ";tag=no\r\n"
		}
	}
	return answer + "Content-Length: 0\r\n\r\n"
}

// TestIntegrationNoRecordingServer: a server that refuses, or says nothing, is no trouble of the call's.
func TestIntegrationNoRecordingServer(t *testing.T) {
	t.Parallel()
	for name, status := range map[string]string{"refuses": "403 Forbidden", "silent": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr, invited := unwilling(t, status)
			config := NewGatewayConfig(t)
			config.Elements = []string{"<record>all</record>", "<siprec>sip:recorder@" + addr + "</siprec>"}
			g := StartGateway(t, config)
			p := g.user(t, "1000")
			p.register(600)
			c := p.call("sip:601@"+GatewayRealm, newWebMedia(t, 1000, "PCMU"))
			c.awaitAnswer()
			select {
			case <-invited:
			case <-time.After(30 * time.Second):
				t.Fatal("the server was not invited")
			}
			if status != "" {
				Eventually(t, 20*time.Second, "a line about it", func() bool { return g.Log.Contains("not recorded by a server") })
			}
			c.media.forget()
			c.talkFor(440, 50)
			c.hangUp()
			g.AwaitIdle(t, 10*time.Second)
		})
	}
}
