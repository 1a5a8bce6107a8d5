package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"webrtc2sip/breaker/webrtc"
	"webrtc2sip/internal/config"
)

// iceServersPath is where pages ask for STUN and TURN servers.
const iceServersPath = "/ice-servers"

// iceServers tells pages the STUN and TURN servers that their connections may use, in the shape of the browsers' own
// RTCIceServer, with credentials that expire. Relaying costs bandwidth, so only those are told who may use the
// gateway: who comes from the address of a registered client, or shows a ticket.
type iceServers struct {
	config     *config.ICE
	origins    []string                 // of other hosts that may ask; "*": any
	registered func() []netip.Addr      // where the clients are that are registered
	ticket     func(token string) error // nil: there are no tickets
	now        func() time.Time

	mu    sync.Mutex
	known map[netip.Addr]bool // of registered
	asked time.Time           // when that was so
}

// knownFor is how long the list of registered clients is used: whoever asks must not make us walk through all of them
// more often than that.
const knownFor = 250 * time.Millisecond

// knows tells whether a client is registered from an address. Who has registered just now waits for a fresh list.
func (s *iceServers) knows(ctx context.Context, source netip.Addr) bool {
	s.mu.Lock()
	old := s.now().Sub(s.asked)
	if s.known[source] && old < knownFor {
		s.mu.Unlock()
		return true
	}
	s.mu.Unlock()
	if old < knownFor {
		timer := time.NewTimer(knownFor - old)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return false
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now().Sub(s.asked) >= knownFor {
		s.known, s.asked = make(map[netip.Addr]bool), s.now()
		for _, a := range s.registered() {
			s.known[a.Unmap()] = true
		}
	}
	return s.known[source]
}

// iceServer is an RTCIceServer.
type iceServer struct {
	URLs       []string `json:"urls"`
	Username   string   `json:"username,omitempty"`
	Credential string   `json:"credential,omitempty"`
}

func (s *iceServers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Vary", "Origin")
	origin := r.Header.Get("Origin")
	if origin != "" && !s.allows(origin, r.Host) {
		http.Error(w, "forbidden origin", http.StatusForbidden)
		return
	}
	if origin != "" {
		h.Set("Access-Control-Allow-Origin", origin)
	}
	switch r.Method {
	case http.MethodOptions: // the browser's question before it sends a ticket
		h.Set("Access-Control-Allow-Headers", "Authorization")
		h.Set("Access-Control-Allow-Methods", "GET")
		w.WriteHeader(http.StatusNoContent)
		return
	case http.MethodGet:
	default:
		h.Set("Allow", "GET, OPTIONS")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	if !s.admits(r) {
		http.Error(w, "not registered", http.StatusForbidden)
		return
	}
	h.Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(s.answer())
}

// allows tells whether a page of that origin may ask: one of the host that it asks, or one that configuration names.
func (s *iceServers) allows(origin, host string) bool {
	u, err := url.Parse(origin)
	if err == nil && u.Host != "" && strings.EqualFold(u.Hostname(), (&url.URL{Host: host}).Hostname()) {
		return true
	}
	return slices.Contains(s.origins, "*") || slices.Contains(s.origins, strings.ToLower(origin))
}

// admits tells whether the one who asks may use the gateway.
func (s *iceServers) admits(r *http.Request) bool {
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok && s.ticket != nil {
		return s.ticket(strings.TrimSpace(token)) == nil
	}
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && s.knows(r.Context(), from.Addr().Unmap())
}

// answer is what is told; servers of one kind share their credentials.
func (s *iceServers) answer() any {
	var stun, turn iceServer
	for _, server := range s.config.PageServers {
		if server.Relays() {
			turn.URLs = append(turn.URLs, server.String())
		} else {
			stun.URLs = append(stun.URLs, server.String())
		}
	}
	list := []iceServer{}
	if stun.URLs != nil {
		list = append(list, stun)
	}
	if turn.URLs != nil {
		turn.Username, turn.Credential = webrtc.RelayCredentials(string(s.config.TURNSecret), "webrtc2sip", s.now().Add(s.config.TURNLifetime))
		list = append(list, turn)
	}
	return struct {
		IceServers []iceServer `json:"iceServers"`
		Lifetime   int         `json:"lifetime"` // seconds
	}{list, int(s.config.TURNLifetime.Seconds())}
}

// clientAddresses are those that registered clients come from.
func (g *gateway) clientAddresses() []netip.Addr {
	var out []netip.Addr
	for _, r := range g.proxy.Registrations() {
		out = append(out, r.Remote.Addr())
	}
	return out
}

// pageHandler is what the http and https transports serve.
func (g *gateway) pageHandler(pages http.Handler) http.Handler {
	s := &iceServers{config: &g.cfg.ICE, origins: g.cfg.AllowOrigins, registered: g.clientAddresses, now: time.Now}
	if t := g.edge.admission.Tickets; t != nil {
		s.ticket = func(token string) error {
			_, err := t.Verify(token, time.Now())
			return err
		}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == iceServersPath {
			s.ServeHTTP(w, r)
			return
		}
		pages.ServeHTTP(w, r)
	})
}

// relayServers are the TURN servers that relay to us, with the account that we have there or credentials for each
// allocation.
func relayServers(cfg *config.Config) []webrtc.RelayServer {
	var out []webrtc.RelayServer
	for _, t := range cfg.ICE.TURN {
		s := webrtc.RelayServer{Address: t.Address(), TCP: t.Transport == "tcp"}
		if t.Secure() {
			s.TLS = &tls.Config{ServerName: t.Host, InsecureSkipVerify: !cfg.TLSVerify}
		}
		s.Credentials = func() (user, password string) {
			if t.User != "" {
				return t.User, string(t.Password)
			}
			return webrtc.RelayCredentials(string(cfg.ICE.TURNSecret), "gateway", time.Now().Add(cfg.ICE.TURNLifetime))
		}
		out = append(out, s)
	}
	return out
}
