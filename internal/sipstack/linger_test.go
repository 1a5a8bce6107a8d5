package sipstack

import (
	"testing"
	"testing/synctest"
	"time"
)

// mourned notes when it ends.
type mourned struct {
	begun time.Time
	ended *[]ended
}

type ended struct {
	at    time.Time
	after time.Duration
}

func (m *mourned) abandon(error) { *m.ended = append(*m.ended, ended{time.Now(), time.Since(m.begun)}) }

// Transactions that come one after the other end together, none too early and
// none much too late, so that there is not a timer's run for each of them.
func TestLingerEndsManyAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const (
			all  = 5000
			life = 10 * time.Second // they have all come by then
		)
		l := linger{stack: run(t, Config{}, newUser()), time: life}
		var got []ended
		for range all {
			l.add(&mourned{time.Now(), &got})
			time.Sleep(time.Millisecond)
		}
		time.Sleep(2 * life)
		synctest.Wait()
		l.close()
		if len(got) != all {
			t.Fatalf("%d of %d have ended", len(got), all)
		}
		runs := map[time.Time]bool{}
		for _, e := range got {
			runs[e.at] = true
			if e.after < life || e.after > life+life/100 {
				t.Errorf("one ended after %v, want %v and no more than a hundredth above", e.after, life)
			}
		}
		if most := all/int(life/100/time.Millisecond) + 1; len(runs) > most {
			t.Errorf("the timer has run %d times, want %d at most", len(runs), most)
		}
	})
}
