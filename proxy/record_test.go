package proxy

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"webrtc2sip/internal/offeranswer"
)

// fakeRecorder writes down what it is told.
type fakeRecorder struct {
	wants, hears bool
	log          []string
	names        string // that the parties of the call show
}

func (r *fakeRecorder) Wants(c CallInfo) bool {
	r.log = append(r.log, "wants "+c.Caller.URI+" "+c.Callee.URI)
	return r.wants
}

func (r *fakeRecorder) Up(c CallInfo) {
	r.log = append(r.log, fmt.Sprintf("up %t %t", c.Broken, !c.Answered.IsZero()))
	r.names = c.Caller.Name + ", " + c.Callee.Name
}

func (r *fakeRecorder) Down(_, cause string) { r.log = append(r.log, "down "+cause) }

func (r *fakeRecorder) Asked(_ CallInfo, from offeranswer.Side, on bool) bool {
	r.log = append(r.log, fmt.Sprintf("asked %s %t", from, on))
	return r.hears
}

// The recorder hears of calls whose media comes through Media, and of no others unless it wants them.
func TestRecorder(t *testing.T) {
	for _, row := range []struct {
		name  string
		cfg   Config
		wants bool
		want  []string
	}{
		{"broken", Config{}, false, []string{"up true true", "down bye from callee"}},
		{"broken since it is recorded", Config{Breaker: BreakerClient}, true, []string{"wants sip:1000@pbx.example.net sip:2000@pbx.example.net", "up true true", "down bye from callee"}},
		{"not wanted", Config{Breaker: BreakerClient}, false, []string{"wants sip:1000@pbx.example.net sip:2000@pbx.example.net"}},
		{"never broken", Config{Breaker: BreakerNever}, true, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			rec := &fakeRecorder{wants: row.wants}
			row.cfg.Recorder = rec
			run(t, row.cfg, func(w *world) {
				_, invite := w.established()
				w.pbx.request("BYE "+browserTarget, "", inDialog(invite)...)
				w.browser.reply(w.browser.want("BYE "), "200 OK", "")
				w.pbx.want("SIP/2.0 200")
				if !slices.EqualFunc(rec.log, row.want, strings.HasPrefix) {
					t.Errorf("got %q, want %q", rec.log, row.want)
				}
			})
		})
	}
}

// The recorder hears the names that the parties show.
func TestRecorderHearsNames(t *testing.T) {
	rec := &fakeRecorder{}
	run(t, Config{Recorder: rec}, func(w *world) {
		w.established(`From: "Alice A." <sip:1000@pbx.example.net>;tag=f1`, "To: Bob <sip:2000@pbx.example.net>")
		equal(t, "names", rec.names, "Alice A., Bob")
	})
}

// A party may ask for a recording by the Record header of INFO; what is not heard goes on to the other one.
func TestRecordAskedByINFO(t *testing.T) {
	for _, row := range []struct {
		name, header string
		hears        bool
		want         string // told to the recorder
		passes       bool
	}{
		{"on", "Record: on", true, "asked caller true", false},
		{"off", "Record: OFF", true, "asked caller false", false},
		{"not heard", "Record: on", false, "asked caller true", true},
		{"another word", "Record: pause", true, "", true},
		{"no header", "Subject: Record", true, "", true},
	} {
		t.Run(row.name, func(t *testing.T) {
			rec := &fakeRecorder{hears: row.hears}
			run(t, Config{Recorder: rec}, func(w *world) {
				ok, _ := w.established()
				rec.log = nil
				w.browser.request("INFO sip:2000@192.0.2.10:5060", "", append(routesOf(ok), "To: <sip:2000@pbx.example.net>;tag=t1", row.header)...)
				if row.passes {
					w.pbx.reply(w.pbx.want("INFO "), "200 OK", "")
				}
				w.browser.want("SIP/2.0 200")
				equal(t, "told", strings.Join(rec.log, ", "), row.want)
				w.wantCalls(1)
			})
		})
	}
}
