package admission

import "time"

// slots are the parts of a window that are told apart. One more is counted than a period has, so that a count never
// covers less than the period: the limit holds for every span of that length, wherever it begins.
const slots = 6

// A window counts events of the last period. The zero window is empty.
type window struct {
	newest int64 // number of the slot that n[0] belongs to
	n      [slots + 1]uint16
}

// roll moves the window to now, in nanoseconds, for slots of the given width.
func (w *window) roll(now, width int64) {
	slot := now / width
	steps := slot - w.newest
	if steps <= 0 {
		return
	}
	w.newest = slot
	if steps > slots {
		w.n = [slots + 1]uint16{}
		return
	}
	copy(w.n[steps:], w.n[:slots+1-steps])
	clear(w.n[:steps])
}

// take counts one event when fewer than limit are in the window; otherwise it tells the time until there is room.
func (w *window) take(now, width int64, limit int) (wait time.Duration) {
	if wait = w.full(now, width, limit); wait == 0 {
		w.n[0]++
	}
	return wait
}

// full tells the time until there is room for one more event, 0 when there is.
func (w *window) full(now, width int64, limit int) (wait time.Duration) {
	w.roll(now, width)
	sum := 0
	for _, n := range w.n {
		sum += int(n)
	}
	if sum < limit && w.n[0] < 1<<16-1 {
		return 0
	}
	for i := slots; i > 0; i-- {
		if sum -= int(w.n[i]); sum < limit {
			return time.Duration((w.newest+int64(slots+1-i))*width - now)
		}
	}
	return time.Duration((w.newest+slots+1)*width - now)
}

// empty reports whether nothing is counted any more.
func (w *window) empty(now, width int64) bool {
	w.roll(now, width)
	return w.n == [slots + 1]uint16{}
}

// A rate lets events through at a steady pace with bursts, by the generic cell rate algorithm (ITU-T I.371): all that
// is kept for one who is limited is the theoretical arrival time of his next event.
type rate struct {
	interval  int64 // nanoseconds between events; 0: no limit
	tolerance int64 // how far ahead of the pace a burst may run
}

// perSecond is n events in a second, burst of which may come at once.
func perSecond(n, burst int) rate {
	if n <= 0 {
		return rate{}
	}
	interval := max(int64(time.Second)/int64(n), 1)
	return rate{interval: interval, tolerance: interval * int64(burst-1)}
}

// next gives the arrival time that follows when an event is let through at now, or the time to wait.
func (r rate) next(arrival, now int64) (after int64, wait time.Duration) {
	if r.interval == 0 {
		return arrival, 0
	}
	arrival = max(arrival, now)
	if early := arrival - now - r.tolerance; early > 0 {
		return arrival, time.Duration(early)
	}
	return arrival + r.interval, 0
}
