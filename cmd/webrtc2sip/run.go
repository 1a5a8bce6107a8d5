package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"webrtc2sip/internal/sipstack"
)

// A part runs until its ctx ends or it fails.
type part struct {
	name string
	run  func(ctx context.Context) error
}

// parts are those of g in the order in which they start. Each needs only those before it.
func (g *gateway) parts() []part {
	var parts []part
	if g.records != nil && g.records.recorder != nil { // it ends after the media whose calls it records
		parts = append(parts, part{"recordings", g.records.recorder.Run})
	}
	parts = append(parts, part{"media", g.media.Run})
	if g.pbx != nil {
		parts = append(parts, part{"pbx", g.pbx.Run})
	}
	parts = append(parts, part{"trace", g.tracer.Run}, part{"load", g.edge.watchLoad}, part{"sip", g.serveSIP}, part{"names", g.learnNames}, part{"trunks", untilDone(g.trunks.Run)})
	if g.records.serves() {
		parts = append(parts, part{"recording servers", untilDone(g.records.servers.Run)})
	}
	if g.prober != nil {
		parts = append(parts, part{"probes", untilDone(g.prober.Run)})
	}
	if g.admin != nil {
		parts = append(parts, part{"admin", g.admin.run})
	}
	for _, p := range g.pages {
		parts = append(parts, part{"pages", p.run})
	}
	return parts
}

// hurry is the key of the context that ends when somebody will not wait for the calls that stand.
type hurry struct{}

// hurried gives that context.
func hurried(ctx context.Context) context.Context {
	if now, ok := ctx.Value(hurry{}).(context.Context); ok {
		return now
	}
	return context.WithoutCancel(ctx)
}

// untilDone is a part that cannot fail and has work only while there is something to watch: it ends with its ctx, not before.
func untilDone(run func(context.Context)) func(context.Context) error {
	return func(ctx context.Context) error {
		run(ctx)
		<-ctx.Done()
		return nil
	}
}

// serveSIP serves the stack with the proxy and, when it has ended, closes the proxy.
func (g *gateway) serveSIP(ctx context.Context) error {
	defer g.proxy.Close()
	var handler sipstack.Handler = g.proxy
	if g.records.serves() {
		handler = g.records.servers.Before(handler)
	}
	return g.stack.Serve(ctx, handler)
}

// run runs every part until ctx ends or one of them fails, then hangs up and stops all. It returns the failure.
func (g *gateway) run(ctx context.Context) error {
	err := runAll(ctx, g.parts(), func() {
		if ctx.Err() == nil { // a part has failed
			g.hangUp()
			return
		}
		g.end(hurried(ctx))
	})
	g.log.Info("stopped")
	return err
}

// errEnded is for a part that ends without having been asked to and without saying why.
var errEnded = errors.New("ended by itself")

// runAll starts the parts in order, waits for the end of ctx or the failure of a part, calls last, and then stops
// the parts one after the other in the reverse order. It returns when all have ended, with the first failure.
func runAll(ctx context.Context, parts []part, last func()) error {
	var stops []func()
	failed := make(chan error, len(parts))
	for _, p := range parts {
		// Not a child of ctx: the end of ctx ends them in order, not all at once.
		own, cancel := context.WithCancel(context.WithoutCancel(ctx))
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			err := p.run(own)
			if err == nil && own.Err() == nil {
				err = errEnded
			}
			if err != nil {
				failed <- fmt.Errorf("%s: %w", p.name, err)
			}
		}()
		stops = append(stops, func() { cancel(); <-ended })
	}

	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	last()
	for i := len(stops) - 1; i >= 0; i-- {
		stops[i]()
	}
	if err == nil {
		select {
		case err = <-failed: // while stopping
		default:
		}
	}
	return err
}

// announce tells a person where the pages are and who may call. Passwords are told in the demo alone: elsewhere
// standard output ends in somebody's logs.
func (g *gateway) announce(w io.Writer) {
	fmt.Fprintf(w, "webrtc2sip %s\n", version)
	for _, p := range g.pages {
		note := ""
		if p.blocked() {
			note = " (browsers refuse this port)"
		}
		fmt.Fprintf(w, "  page:          %s%s\n", p.url(), note)
	}
	if p := g.cfg.PBX; p != nil {
		fmt.Fprintf(w, "  domain:        %s\n", p.Realm)
		fmt.Fprintf(w, "  users:         %s\n", names(p.Users, demonstrates(p)))
		fmt.Fprintf(w, "  test numbers:  600 echo, 601 tone of 440 Hz, 602 rings for ever, 603 busy\n")
	}
	fmt.Fprintf(w, "  stop:          Ctrl-C\n")
}
