package main

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"webrtc2sip/breaker"
	"webrtc2sip/internal/api/admin"
	"webrtc2sip/internal/config"
	"webrtc2sip/internal/metrics"
	"webrtc2sip/internal/offeranswer"
	"webrtc2sip/internal/recording"
	"webrtc2sip/internal/siprec"
	"webrtc2sip/proxy"
)

// recordings join what signalling knows of a call with the copies of its packets. They are the proxy's Recorder.
type recordings struct {
	rules    config.Record
	recorder *recording.Recorder // nil: there are no files
	servers  *siprec.Client      // nil: no server records
	media    *breaker.Breaker

	mu   sync.Mutex
	live map[string]recorded // by call_id
}

// recorded is one call that is: in files, at a server, or both; what is not so is nil.
type recorded struct {
	files  *recording.Recording
	server *siprec.Session
}

// name is what the files begin with, or else the server's session.
func (r recorded) name() string {
	if r.files != nil {
		return r.files.Name()
	}
	return r.server.Name()
}

// tap copies a stream to whoever records it, nil for nobody.
func (r recorded) tap(stream int, video bool) breaker.Tap {
	var taps copies
	if r.files != nil {
		taps = append(taps, r.files.Tap(stream, video))
	}
	if r.server != nil {
		if t := r.server.Tap(stream, video); t != nil {
			taps = append(taps, t)
		}
	}
	switch len(taps) {
	case 0:
		return nil
	case 1:
		return taps[0]
	}
	return taps
}

// copies are taps that get the same.
type copies []breaker.Tap

// Packet is of breaker.Tap.
func (c copies) Packet(side offeranswer.Side, at time.Duration, p []byte) {
	for _, t := range c {
		t.Packet(side, at, p)
	}
}

// SetFormats is of breaker.Tap.
func (c copies) SetFormats(side offeranswer.Side, formats []offeranswer.Format) {
	for _, t := range c {
		t.SetFormats(side, formats)
	}
}

// openRecorder opens the folder, if configuration asks for recordings.
func (g *gateway) openRecorder() error {
	c := g.cfg.Record
	if c == nil {
		return nil
	}
	g.records = &recordings{rules: *c, media: g.media, live: make(map[string]recorded)}
	if c.Folder == "" {
		return nil
	}
	r, err := recording.New(recording.Config{Folder: c.Folder, Retention: c.Retention, MaxSize: c.MaxSize, Logger: g.log})
	if err != nil {
		return fmt.Errorf("<record-folder>: %w", err)
	}
	g.records.recorder = r
	return nil
}

// openRecordServers makes what speaks to recording servers, which stands on the stack.
func (g *gateway) openRecordServers() {
	c := g.cfg.Record
	if c == nil || len(c.Servers) == 0 {
		return
	}
	config := siprec.Config{
		Logger: g.log, User: c.ServerUser, Password: string(c.ServerPassword), PublicAddress: g.cfg.PublicAddress, OpenPair: g.media.OpenPair,
	}
	for _, s := range c.Servers {
		config.Servers = append(config.Servers, siprec.Server{URI: s.URI, Query: query(s.Hop)})
	}
	g.records.servers = siprec.New(config, g.stack, g.resolver)
}

// serves tells whether recording servers may have something to say.
func (r *recordings) serves() bool { return r != nil && r.servers != nil }

// Wants is of proxy.Recorder.
func (r *recordings) Wants(c proxy.CallInfo) bool { return r.rule(c) != "" }

// rule is the first one that fits a call, as configuration has it, or empty.
func (r *recordings) rule(c proxy.CallInfo) string {
	for _, rule := range r.rules.Rules {
		switch {
		case rule.All:
			return "all"
		case rule.Trunk != "" && strings.EqualFold(rule.Trunk, c.Trunk):
			return "trunk " + rule.Trunk
		case rule.User != "" && (isUser(c.Caller.URI, rule) || isUser(c.Callee.URI, rule)):
			return "user " + rule.User + orElse(rule.Domain != "", "@"+rule.Domain, "")
		}
	}
	return ""
}

// isUser tells whether a SIP URI is of the user of a rule.
func isUser(uri string, rule config.RecordRule) bool {
	_, address, _ := strings.Cut(strings.ToLower(uri), ":")
	user, rest, found := strings.Cut(address, "@")
	user, _, _ = strings.Cut(user, ";")
	host := rest
	if i := strings.IndexAny(rest, ":;?>"); i >= 0 && !strings.HasPrefix(rest, "[") {
		host = rest[:i]
	}
	return found && user == rule.User && (rule.Domain == "" || host == rule.Domain)
}

// Up is of proxy.Recorder.
func (r *recordings) Up(c proxy.CallInfo) {
	r.mu.Lock()
	rec, live := r.live[c.ID]
	r.mu.Unlock()
	if live { // the operator asked while it rang
		if rec.files != nil {
			rec.files.Answered(c.Answered)
		}
		return
	}
	if rule := r.rule(c); rule != "" {
		_, _ = r.start(c, rule) // it says itself what is wrong
	}
}

// Down is of proxy.Recorder.
func (r *recordings) Down(call, cause string) { r.stop(call, cause) }

// Asked is of proxy.Recorder.
func (r *recordings) Asked(c proxy.CallInfo, from offeranswer.Side, on bool) bool {
	if !r.rules.OnRequest {
		return false
	}
	if !on {
		r.stop(c.ID, "asked for by the "+from.String())
		return true
	}
	_, err := r.start(c, "asked for by the "+from.String())
	return err == nil
}

// start begins to record a call, unless it is recorded.
func (r *recordings) start(c proxy.CallInfo, rule string) (name string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if rec, live := r.live[c.ID]; live {
		return rec.name(), nil
	}
	err = r.media.Record(c.ID, func(of breaker.Recorded) (func(int, bool) breaker.Tap, error) {
		rec, err := r.begin(c, rule, of)
		if err != nil {
			return nil, err
		}
		r.live[c.ID], name = rec, rec.name()
		return func(stream int, video bool) breaker.Tap {
			if video && r.rules.AudioOnly {
				return nil
			}
			return rec.tap(stream, video)
		}, nil
	})
	return name, err
}

// begin begins the files and the session of a call, or none of them.
func (r *recordings) begin(c proxy.CallInfo, rule string, of breaker.Recorded) (rec recorded, err error) {
	if r.recorder != nil {
		rec.files, err = r.recorder.Start(recording.Call{
			ID: c.ID, SIPCallID: c.CallID, Caller: c.Caller.URI, Callee: c.Callee.URI, Trunk: c.Trunk, Rule: rule,
			Answered: c.Answered, Began: of.Began, Keyframe: of.Keyframe,
		})
		if err != nil {
			return recorded{}, err
		}
	}
	if r.servers == nil {
		return rec, nil
	}
	rec.server, err = r.servers.Start(siprec.Call{
		ID: c.ID, Answered: c.Answered, Keyframe: of.Keyframe,
		Caller: siprec.Participant{AoR: c.Caller.URI, Name: c.Caller.Name}, Callee: siprec.Participant{AoR: c.Callee.URI, Name: c.Callee.Name},
	})
	if err != nil && rec.files != nil {
		rec.files.Stop("shutdown")
	}
	return rec, err
}

// stop ends the recording of a call, if there is one.
func (r *recordings) stop(call, reason string) {
	r.mu.Lock()
	rec, live := r.live[call]
	delete(r.live, call)
	r.mu.Unlock()
	if !live {
		return
	}
	r.media.Unrecord(call)
	if rec.files != nil {
		rec.files.Stop(reason)
	}
	if rec.server != nil {
		rec.server.Stop()
	}
}

// name is what a call's recording is called, empty if it is not recorded.
func (r *recordings) name(call string) string {
	if r == nil {
		return ""
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if rec, live := r.live[call]; live {
		return rec.name()
	}
	return ""
}

// recordCall is the operator's wish.
func (g *gateway) recordCall(call string, on bool) (string, error) {
	for _, c := range g.proxy.List() {
		switch {
		case c.ID != call:
		case !c.Broken:
			return "", admin.ErrNoMedia
		case on:
			name, err := g.records.start(c, "asked for by the operator")
			if errors.Is(err, breaker.ErrNoCall) {
				err = admin.ErrNoMedia // it has ended, or has no description yet
			}
			return name, err
		default:
			name := g.records.name(call)
			g.records.stop(call, "asked for by the operator")
			return name, nil
		}
	}
	return "", admin.ErrNoCall
}

func (g *gateway) siprecMetrics() metrics.SIPREC {
	s := g.records.servers.Stats()
	return metrics.SIPREC{Active: s.Active, Started: s.Started, Failures: s.Failures, Packets: s.Packets, Dropped: s.Dropped}
}

func (g *gateway) recordingMetrics() metrics.Recordings {
	s := g.records.recorder.Stats()
	return metrics.Recordings{Active: s.Active, Started: s.Started, Dropped: s.Dropped, Failures: s.Failures, Octets: s.Octets}
}
