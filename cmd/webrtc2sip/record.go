package main

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"webrtc2sip/breaker"
	"webrtc2sip/internal/api/admin"
	"webrtc2sip/internal/config"
	"webrtc2sip/internal/metrics"
	"webrtc2sip/internal/offeranswer"
	"webrtc2sip/internal/recording"
	"webrtc2sip/proxy"
)

// recordings join what signalling knows of a call with the copies of its packets. They are the proxy's Recorder.
type recordings struct {
	rules    config.Record
	recorder *recording.Recorder
	media    *breaker.Breaker

	mu   sync.Mutex
	live map[string]*recording.Recording // by call_id
}

// openRecorder opens the folder, if configuration asks for recordings.
func (g *gateway) openRecorder() error {
	c := g.cfg.Record
	if c == nil {
		return nil
	}
	r, err := recording.New(recording.Config{Folder: c.Folder, Retention: c.Retention, MaxSize: c.MaxSize, Logger: g.log})
	if err != nil {
		return fmt.Errorf("<record-folder>: %w", err)
	}
	g.records = &recordings{rules: *c, recorder: r, media: g.media, live: make(map[string]*recording.Recording)}
	return nil
}

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
	rec := r.live[c.ID]
	r.mu.Unlock()
	if rec != nil { // the operator asked while it rang
		rec.Answered(c.Answered)
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
	if rec := r.live[c.ID]; rec != nil {
		return rec.Name(), nil
	}
	err = r.media.Record(c.ID, func(of breaker.Recorded) (func(int, bool) breaker.Tap, error) {
		rec, err := r.recorder.Start(recording.Call{
			ID: c.ID, SIPCallID: c.CallID, Caller: c.Caller.URI, Callee: c.Callee.URI, Trunk: c.Trunk, Rule: rule,
			Answered: c.Answered, Began: of.Began, Keyframe: of.Keyframe,
		})
		if err != nil {
			return nil, err
		}
		r.live[c.ID], name = rec, rec.Name()
		return func(stream int, video bool) breaker.Tap {
			if video && r.rules.AudioOnly {
				return nil
			}
			return rec.Tap(stream, video)
		}, nil
	})
	return name, err
}

// stop ends the recording of a call, if there is one.
func (r *recordings) stop(call, reason string) {
	r.mu.Lock()
	rec := r.live[call]
	delete(r.live, call)
	r.mu.Unlock()
	if rec != nil {
		r.media.Unrecord(call)
		rec.Stop(reason)
	}
}

// name is what the files of a call's recording begin with, empty if it is not recorded.
func (r *recordings) name(call string) string {
	if r == nil {
		return ""
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if rec := r.live[call]; rec != nil {
		return rec.Name()
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

func (g *gateway) recordingMetrics() metrics.Recordings {
	s := g.records.recorder.Stats()
	return metrics.Recordings{Active: s.Active, Started: s.Started, Dropped: s.Dropped, Failures: s.Failures, Octets: s.Octets}
}
