//go:build !linux

package wire

// systemSocket has nothing to keep where there is no epoll.
type systemSocket struct{}

func newEngine(_ bool, c *counters) (engine, error) { return newPortable(c), nil }
