package webrtc

import "testing"

func TestNomination(t *testing.T) {
	const low, high = 10, 20
	type check struct {
		id, priority uint64
		want         uint64 // the pair in use afterwards
	}
	tests := []struct {
		name   string
		checks []check
	}{
		{"one pair", []check{{1, low, 1}, {1, low, 1}}},
		{"all at once, best first", []check{{1, high, 1}, {2, low, 1}, {1, high, 1}, {2, low, 1}, {1, high, 1}}},
		{"all at once, best last", []check{{2, low, 2}, {1, high, 1}, {2, low, 1}, {1, high, 1}}},
		{"a change for the worse", []check{{1, high, 1}, {1, high, 1}, {2, low, 1}, {2, low, 2}, {2, low, 2}}},
		{"and back", []check{{1, high, 1}, {2, low, 1}, {2, low, 2}, {1, high, 1}}},
		{"of equal priority", []check{{1, low, 1}, {2, low, 1}, {2, low, 2}}},
		{"rivals among themselves", []check{{1, high, 1}, {2, low, 1}, {3, low, 1}, {2, low, 1}, {2, low, 2}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var n nomination
			selected, best := uint64(0), uint64(0) // as the agent does it
			for i, c := range test.checks {
				if selected == 0 || c.priority > best {
					selected, best = c.id, c.priority
				}
				if n.nominated(c.id, c.priority) {
					selected, best = c.id, c.priority
				}
				if selected != c.want || n.current != c.want {
					t.Fatalf("check %d: agent has %d, nomination %d, want %d", i, selected, n.current, c.want)
				}
			}
		})
	}
}

func TestPairPriority(t *testing.T) {
	// The values are from a log of pion/ice 4.4.8.
	if got, want := pairPriority(1862270975, 2130706431), uint64(7998392936314175487); got != want {
		t.Errorf("got %d, want %d", got, want)
	}
	if pairPriority(5, 4) != pairPriority(4, 5)+1 {
		t.Error("the controlling side's larger priority does not count")
	}
}
