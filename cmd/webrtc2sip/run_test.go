package main

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// journal records what happens in which order.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) add(line string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, line)
}

// waiter is a part that says when it ends.
func (j *journal) waiter(name string, err error) part {
	return part{name, func(ctx context.Context) error {
		<-ctx.Done()
		j.add(name)
		return err
	}}
}

func TestRunAllStopsInReverse(t *testing.T) {
	var j journal
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := runAll(ctx, []part{j.waiter("a", nil), j.waiter("b", nil), j.waiter("c", nil)}, func() { j.add("last") })
	if err != nil {
		t.Error(err)
	}
	if d := cmp.Diff([]string{"last", "c", "b", "a"}, j.lines); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

func TestRunAllTellsTheFirstFailure(t *testing.T) {
	broken := errors.New("broken")
	fails := part{"fails", func(context.Context) error { return broken }}
	ends := part{"ends", func(context.Context) error { return nil }}
	tests := []struct {
		name  string
		parts func(j *journal) []part
		want  string
	}{
		{"fails", func(j *journal) []part { return []part{j.waiter("a", nil), fails, j.waiter("b", errors.New("also"))} }, "fails: broken"},
		{"ends without a reason", func(j *journal) []part { return []part{ends, j.waiter("a", nil)} }, "ends: ended by itself"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var j journal
			err := runAll(t.Context(), tt.parts(&j), func() { j.add("last") })
			if err == nil || err.Error() != tt.want {
				t.Errorf("got %v, want %s", err, tt.want)
			}
			if len(j.lines) < 2 || j.lines[0] != "last" {
				t.Errorf("got %s, want last and then the others", strings.Join(j.lines, ", "))
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var j journal
	if err := runAll(ctx, []part{j.waiter("a", broken)}, func() {}); !errors.Is(err, broken) {
		t.Errorf("a failure while stopping: got %v", err)
	}
}
