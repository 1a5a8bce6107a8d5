package admin

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"webrtc2sip/internal/trace"
)

// maxSeconds is the longest time that may be asked for: 30 days.
const maxSeconds = 30 * 24 * 3600

// resources is the handler of all paths. They are compared as they are: there
// is nothing below them but what calls have, and no redirection to a cleaned path.
func (s *Server) resources() http.Handler {
	table := map[string]map[string]action{
		"/healthz": {http.MethodGet: func(*http.Request) (int, any, error) { return http.StatusOK, state{Status: "ok"}, nil }},
		"/readyz":  {http.MethodGet: s.ready},
	}
	if s.cfg.Bans != nil {
		table["/api/bans"] = map[string]action{http.MethodGet: s.bans, http.MethodPost: s.ban, http.MethodDelete: s.unban}
	}
	if s.cfg.Tracer != nil {
		table["/api/trace"] = map[string]action{http.MethodGet: s.following, http.MethodPost: s.follow, http.MethodDelete: s.unfollow}
	}
	if s.cfg.Targets != nil || s.cfg.Trunks != nil {
		table["/api/targets"] = map[string]action{http.MethodGet: s.targets}
	}
	if s.cfg.Calls != nil {
		table["/api/calls"] = map[string]action{http.MethodGet: func(r *http.Request) (int, any, error) { return list(r, "calls", s.cfg.Calls()) }}
	}
	if s.cfg.Registrations != nil {
		table["/api/registrations"] = map[string]action{http.MethodGet: func(r *http.Request) (int, any, error) {
			return list(r, "registrations", s.cfg.Registrations())
		}}
	}
	if s.cfg.Drain != nil {
		table["/api/drain"] = map[string]action{http.MethodPost: s.drain}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		methods := table[r.URL.Path]
		if call, of := callOf(r.URL.Path); of && s.cfg.Record != nil {
			methods = map[string]action{http.MethodPost: func(r *http.Request) (int, any, error) { return s.record(r, call) }}
		}
		if r.URL.Path == "/metrics" && s.cfg.Metrics != nil {
			methods = map[string]action{http.MethodGet: nil}
		}
		s.serve(w, r, methods)
	})
}

// callOf reads the path of a call's recording.
func callOf(path string) (call string, ok bool) {
	rest, under := strings.CutPrefix(path, "/api/calls/")
	call, of := strings.CutSuffix(rest, "/record")
	return call, under && of && call != "" && !strings.Contains(call, "/")
}

// recorded is whether a call is recorded, and as what.
type recorded struct {
	Call   string `json:"call_id"`
	Record bool   `json:"record"`
	Name   string `json:"name,omitempty"`
}

func (s *Server) record(r *http.Request, call string) (int, any, error) {
	var asked struct {
		Record *bool `json:"record"`
	}
	if err := read(r, &asked); err != nil {
		return 0, nil, err
	}
	if asked.Record == nil {
		return 0, nil, bad("record: neither true nor false")
	}
	name, err := s.cfg.Record(call, *asked.Record)
	switch {
	case errors.Is(err, ErrNoCall):
		return 0, nil, problem{Status: http.StatusNotFound, Detail: err.Error()}
	case errors.Is(err, ErrNoMedia):
		return 0, nil, problem{Status: http.StatusConflict, Detail: err.Error()}
	case err != nil:
		return 0, nil, err
	}
	s.log.Info("recording asked for", "call_id", call, "record", *asked.Record, "remote", r.RemoteAddr)
	return http.StatusOK, recorded{call, *asked.Record, name}, nil
}

// state is the answer of the probes.
type state struct {
	Status  string   `json:"status"`
	Reasons []string `json:"reasons,omitempty"`
}

// stranger marks the context of a request that came without the token.
type stranger struct{}

func asStranger(ctx context.Context) context.Context {
	return context.WithValue(ctx, stranger{}, true)
}

// ready tells strangers only whether, not why.
func (s *Server) ready(r *http.Request) (int, any, error) {
	var reasons []string
	if s.cfg.Ready != nil {
		reasons = s.cfg.Ready()
	}
	if len(reasons) == 0 {
		return http.StatusOK, state{Status: "ready"}, nil
	}
	if r.Context().Value(stranger{}) != nil {
		reasons = nil
	}
	return http.StatusServiceUnavailable, state{"not ready", reasons}, nil
}

func (s *Server) drain(r *http.Request) (int, any, error) {
	if err := read(r, &struct{}{}); err != nil {
		return 0, nil, err
	}
	s.log.Info("drain asked for", "remote", r.RemoteAddr)
	s.cfg.Drain()
	return http.StatusAccepted, state{Status: "draining"}, nil
}

func (s *Server) bans(r *http.Request) (int, any, error) { return list(r, "bans", s.cfg.Bans.List()) }

func (s *Server) ban(r *http.Request) (int, any, error) {
	var asked struct {
		Address string `json:"address"`
		Seconds int    `json:"seconds"`
	}
	if err := read(r, &asked); err != nil {
		return 0, nil, err
	}
	source, err := addressOf(asked.Address)
	if err != nil {
		return 0, nil, err
	}
	if asked.Seconds < 1 || asked.Seconds > maxSeconds {
		return 0, nil, bad("seconds: not from 1 to 2592000")
	}
	s.cfg.Bans.Ban(source, time.Duration(asked.Seconds)*time.Second)
	b, found := s.find(source)
	if !found {
		return 0, nil, problem{Status: http.StatusConflict, Detail: "this address cannot be shut out"}
	}
	s.log.Info("banned by the operator", "source", source, "until", b.Until, "remote", r.RemoteAddr)
	return http.StatusCreated, b, nil
}

func (s *Server) unban(r *http.Request) (int, any, error) {
	source, err := addressOf(r.URL.Query().Get("address"))
	if err != nil {
		return 0, nil, err
	}
	if !s.cfg.Bans.Unban(source) {
		return 0, nil, problem{Status: http.StatusNotFound, Detail: "not in the list"}
	}
	s.log.Info("ban lifted by the operator", "source", source, "remote", r.RemoteAddr)
	return http.StatusNoContent, nil, nil
}

// find looks for the ban of a source. Those of IPv6 may be kept for the whole
// network of a subscriber, /64, under its lowest address.
func (s *Server) find(source netip.Addr) (Ban, bool) {
	all := s.cfg.Bans.List()
	i := slices.IndexFunc(all, func(b Ban) bool {
		if b.Until.IsZero() {
			return false
		}
		network, err := b.Addr.Prefix(64)
		return b.Addr == source || err == nil && network.Addr() == b.Addr && network.Contains(source)
	})
	if i < 0 {
		return Ban{}, false
	}
	return all[i], true
}

func addressOf(text string) (netip.Addr, error) {
	a, err := netip.ParseAddr(text)
	if err != nil || a.Zone() != "" || a.IsUnspecified() {
		return netip.Addr{}, bad("address: not an IP address")
	}
	return a.Unmap(), nil
}

// followed is what is followed, on the wire.
type followed struct {
	Pattern string    `json:"pattern"`
	Until   time.Time `json:"until"`
}

func (s *Server) following(r *http.Request) (int, any, error) {
	all := s.cfg.Tracer.Following()
	shown := make([]followed, 0, len(all))
	for _, f := range all {
		shown = append(shown, followed(f))
	}
	return list(r, "following", shown)
}

func (s *Server) follow(r *http.Request) (int, any, error) {
	var asked struct {
		Pattern string `json:"pattern"`
		Seconds int    `json:"seconds"` // 0: as long as the tracer likes
	}
	if err := read(r, &asked); err != nil {
		return 0, nil, err
	}
	if asked.Seconds < 0 || asked.Seconds > maxSeconds {
		return 0, nil, bad("seconds: not from 0 to 2592000")
	}
	pattern := strings.TrimSpace(asked.Pattern)
	err := s.cfg.Tracer.Follow(pattern, time.Duration(asked.Seconds)*time.Second)
	switch {
	case errors.Is(err, trace.ErrPattern):
		return 0, nil, bad("pattern: " + err.Error())
	case errors.Is(err, trace.ErrTooMany):
		return 0, nil, problem{Status: http.StatusConflict, Detail: err.Error()}
	case err != nil:
		return 0, nil, err
	}
	f := followed{Pattern: pattern}
	for _, known := range s.cfg.Tracer.Following() {
		if known.Pattern == pattern {
			f.Until = known.Until
		}
	}
	s.log.Info("trace begins", "followed", pattern, "until", f.Until, "remote", r.RemoteAddr)
	return http.StatusCreated, f, nil
}

func (s *Server) unfollow(r *http.Request) (int, any, error) {
	pattern := r.URL.Query().Get("pattern")
	if !s.cfg.Tracer.Unfollow(pattern) {
		return 0, nil, problem{Status: http.StatusNotFound, Detail: "not followed"}
	}
	s.log.Info("trace ends", "followed", pattern, "remote", r.RemoteAddr)
	return http.StatusNoContent, nil, nil
}

func (s *Server) targets(*http.Request) (int, any, error) {
	body := struct {
		Targets []Target `json:"targets"`
		Trunks  []Trunk  `json:"trunks"`
	}{[]Target{}, []Trunk{}}
	if s.cfg.Targets != nil {
		all := s.cfg.Targets()
		body.Targets = append(body.Targets, all[:min(len(all), maxLimit)]...)
	}
	if s.cfg.Trunks != nil {
		body.Trunks = append(body.Trunks, s.cfg.Trunks()...)
	}
	return http.StatusOK, body, nil
}
