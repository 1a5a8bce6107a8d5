package secure

import (
	"bytes"
	"context"
	"errors"
	"net"
	"testing"
	"time"
)

// line is one end of a connection that loses nothing.
type line struct {
	net.Conn
}

func (l line) ReadFrom(p []byte) (int, net.Addr, error) {
	n, err := l.Read(p)
	return n, nowhere, err
}
func (l line) WriteTo(p []byte, _ net.Addr) (int, error) { return l.Write(p) }

// lines joins two sockets on the loopback.
func lines(t *testing.T) (one, other line) {
	t.Helper()
	first, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	at := first.LocalAddr().(*net.UDPAddr)
	second, err := net.DialUDP("udp4", nil, at)
	if err != nil {
		t.Fatal(err)
	}
	from := second.LocalAddr().(*net.UDPAddr)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	connected, err := net.DialUDP("udp4", at, from)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = connected.Close(), second.Close() })
	return line{connected}, line{second}
}

// shaken is how one side's handshake has ended.
type shaken struct {
	association *Association
	err         error
}

func shake(ctx context.Context, c net.PacketConn, h Handshake) <-chan shaken {
	done := make(chan shaken, 1)
	go func() {
		a, err := Shake(ctx, c, h)
		done <- shaken{a, err}
	}()
	return done
}

func TestShake(t *testing.T) {
	mine, yours := newIdentity(t), newIdentity(t)
	is := func(i *Identity) func([]byte) bool {
		return func(der []byte) bool { return bytes.Equal(der, i.Certificate()) }
	}
	tests := []struct {
		name           string
		client, server Handshake
		refused        bool
	}{
		{"good", Handshake{Identity: mine, Matches: is(yours)}, Handshake{Identity: yours, Matches: is(mine)}, false},
		{"phones", Handshake{Identity: mine, Matches: is(yours), Lenient: true}, Handshake{Identity: yours, Matches: is(mine), Lenient: true}, false},
		{"wrong server", Handshake{Identity: mine, Matches: is(mine)}, Handshake{Identity: yours, Matches: is(mine)}, true},
		{"wrong client", Handshake{Identity: mine, Matches: is(yours)}, Handshake{Identity: yours, Matches: is(yours)}, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			a, b := lines(t)
			test.client.Client = true
			atServer := shake(ctx, b, test.server)
			atClient := shake(ctx, a, test.client)
			if test.refused {
				refuses(t, atClient, atServer)
				return
			}
			one, other := <-atClient, <-atServer
			if one.err != nil || other.err != nil {
				t.Fatalf("client: %v, server: %v", one.err, other.err)
			}
			defer one.association.Close()
			defer other.association.Close()
			for i := range uint16(3) {
				if !crosses(t, one.association.Context(), other.association.Context(), 1, i) ||
					!crosses(t, other.association.Context(), one.association.Context(), 2, i) {
					t.Fatal("the two have other keys")
				}
			}
		})
	}
}

// refuses waits for both sides: one has refused the other's certificate and
// told it so.
func refuses(t *testing.T, sides ...<-chan shaken) {
	t.Helper()
	var errs []error
	found := false
	for _, side := range sides {
		end := <-side
		errs = append(errs, end.err)
		found = found || errors.Is(end.err, ErrFingerprint)
		if end.association != nil {
			end.association.Close()
		}
	}
	if !found {
		t.Errorf("got %v, want a fingerprint that does not match", errs)
	}
}

func newIdentity(t *testing.T) *Identity {
	t.Helper()
	i, err := NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	return i
}
