package wire

import (
	"fmt"
	"net/netip"
	"strconv"
	"testing"
)

// More sockets are ready, and more packets leave, than a batch holds; and a socket that closes right after it has
// sent lets the packet go first.
func TestManySocketsInOneRound(t *testing.T) {
	w := start(t, Config{})
	const sockets = 3 * 64 / 2
	phone := peer(t)
	legs := make([]*Socket, sockets)
	for i := range legs {
		var err error
		legs[i], err = w.Listen(netip.AddrPortFrom(loopback, 0), ReceiverFunc(func(p []byte, from netip.AddrPort) {
			legs[i].Send(p, from)
			legs[i].Close()
		}))
		if err != nil {
			t.Fatal(err)
		}
	}
	on(t, w, func() { // holds the loop until all are ready
		for i, l := range legs {
			write(t, phone, l.LocalAddr(), fmt.Sprint(i))
		}
	})
	for range legs {
		text, from := read(t, phone)
		if i, err := strconv.Atoi(text); err != nil || from != legs[i].LocalAddr() {
			t.Errorf("%q comes back from %s", text, from)
		}
	}
	eventually(t, w, func(s Stats) bool { return s.Sent == sockets })
}
