package breaker

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/stun/v4"
	"github.com/pion/turn/v5"

	"webrtc2sip/breaker/webrtc"
	"webrtc2sip/internal/offeranswer"
)

// stunServer tells everybody that his address is another one.
type stunServer struct {
	socket *net.UDPConn
	says   netip.AddrPort
	asked  atomic.Int64
}

func newSTUNServer(t testing.TB, says string) *stunServer {
	t.Helper()
	s := &stunServer{socket: listen(t, loopback), says: netip.MustParseAddrPort(says)}
	done := make(chan struct{})
	go func() { s.serve(); close(done) }()
	t.Cleanup(func() { _ = s.socket.Close(); <-done })
	return s
}

func (s *stunServer) serve() {
	buf := make([]byte, 1500)
	for {
		n, from, err := s.socket.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		m := &stun.Message{Raw: append([]byte(nil), buf[:n]...)}
		if m.Decode() != nil || m.Type != stun.BindingRequest {
			continue
		}
		s.asked.Add(1)
		answer, err := stun.Build(m, stun.BindingSuccess, &stun.XORMappedAddress{IP: s.says.Addr().AsSlice(), Port: int(s.says.Port())})
		if err == nil {
			_, _ = s.socket.WriteToUDPAddrPort(answer.Raw, from)
		}
	}
}

func (s *stunServer) addr() string { return s.socket.LocalAddr().String() }

// reflexed waits until every worker knows its address before the NAT.
func reflexed(t testing.TB, b *Breaker, says string) {
	t.Helper()
	eventually(t, "an answer of the STUN server", func() bool {
		for _, w := range b.workers {
			e := w.web.NewEndpoint(webrtc.Config{Address: loopback})
			if !hasCandidate(e, "srflx", says) {
				return false
			}
		}
		return true
	})
}

func hasCandidate(e *webrtc.Endpoint, kind, at string) bool {
	for _, c := range e.Candidates() {
		if c.Type == kind && (at == "" || c.Address.String() == at) {
			return true
		}
	}
	return false
}

const reflexive = "198.51.100.7:40000"

// A full agent has a call with a browser that offers (and controls) or answers,
// and says what it knows of itself.
func TestFullAgent(t *testing.T) {
	for _, side := range []offeranswer.Side{offeranswer.Caller, offeranswer.Callee} {
		t.Run("browser is the "+side.String(), func(t *testing.T) {
			server := newSTUNServer(t, reflexive)
			b := start(t, Config{STUN: server.addr(), BindAddresses: []netip.Addr{loopback}})
			reflexed(t, b, reflexive)
			var parties [2]peer
			web := newBrowser(t)
			web.controlled = side == offeranswer.Callee
			parties[side], parties[side.Other()] = web, newPhone(t)
			s := newSetup(t, b, parties[0], parties[1])
			toAnswerer, toOfferer := s.exchange(offeranswer.Caller)
			text := string([2][]byte{toOfferer, toAnswerer}[side])
			if strings.Contains(text, "ice-lite") || !strings.Contains(text, " 198.51.100.7 40000 typ srflx") {
				t.Errorf("our description:\n%s", text)
			}
			s.connect(toOfferer, toAnswerer)
			s.bothFlow()
			s.reportsPass()
			// ICE restarts by the browser, and a re-offer of the phone that starts nothing.
			s.exchange(side.Other())
			s.bothFlow()
		})
	}
}

// turnServer is one with the time limited credentials of a secret.
func newTURNServer(t testing.TB, secret string) string {
	t.Helper()
	socket := listen(t, loopback)
	server, err := turn.NewServer(turn.ServerConfig{
		Realm: "test", LoggerFactory: quietLogs,
		AuthHandler: turn.LongTermTURNRESTAuthHandler(secret, quietLogs.NewLogger("turn")),
		PacketConnConfigs: []turn.PacketConnConfig{{
			PacketConn:            socket,
			RelayAddressGenerator: &turn.RelayAddressGeneratorStatic{RelayAddress: net.IP{127, 0, 0, 1}, Address: "127.0.0.1"},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	return socket.LocalAddr().String()
}

// A browser that reaches us by nothing but our relay.
func TestOurRelay(t *testing.T) {
	const secret = "north-pole"
	for _, side := range []offeranswer.Side{offeranswer.Caller, offeranswer.Callee} {
		t.Run("browser is the "+side.String(), func(t *testing.T) {
			b := start(t, Config{BindAddresses: []netip.Addr{loopback}, Relays: []webrtc.RelayServer{{
				Address: newTURNServer(t, secret),
				Credentials: func() (string, string) {
					return webrtc.RelayCredentials(secret, "gateway", time.Now().Add(time.Hour))
				},
			}}})
			eventually(t, "relay", func() bool { return b.workers[0].web.Relays() > 0 })
			var parties [2]peer
			web := newBrowser(t)
			web.controlled, web.onlyRelay = side == offeranswer.Callee, true
			web.from.Store(&netip.AddrPort{}) // nobody, until it knows the relay
			parties[side], parties[side.Other()] = web, newPhone(t)
			s := newSetup(t, b, parties[0], parties[1])
			s.establish(offeranswer.Caller)
			s.bothFlow()
			s.reportsPass()
			local, _ := s.endpoint(side).Addresses()
			relayed := fmt.Sprintf(" %s %d typ relay", local.Addr(), local.Port())
			if !strings.Contains(web.learnt, relayed) {
				t.Errorf("media goes by %s, want the relay in\n%s", local, web.learnt)
			}
		})
	}
}
