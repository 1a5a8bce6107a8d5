package breaker

import (
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"webrtc2sip/internal/offeranswer"
)

// A browser without UDP calls and is called over ICE-TCP, in both DTLS roles.
func TestTCP(t *testing.T) {
	for _, test := range []struct {
		name   string
		at     netip.Addr
		side   offeranswer.Side
		setup  string
		filled int64 // calls for each of two workers
	}{
		{"caller", loopback, offeranswer.Caller, "active", 0},
		{"caller in the second worker", loopback, offeranswer.Caller, "active", 1},
		{"callee, client", loopback, offeranswer.Callee, "active", 0},
		{"callee, server", loopback, offeranswer.Callee, "passive", 0},
		{"IPv6", loopback6, offeranswer.Caller, "active", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			if !bindable(test.at) {
				t.Skip("no IPv6")
			}
			b := start(t, Config{TCP: true, Workers: 2, filled: test.filled})
			b.workers[0].calls.Add(test.filled) // as if it had calls
			var parties [2]peer
			web := newTCPBrowser(t, test.at)
			web.setup = test.setup
			parties[test.side], parties[test.side.Other()] = web, newPhone(t)
			s := newSetup(t, b, parties[0], parties[1])
			s.establish(offeranswer.Caller)
			s.bothFlow()
			s.reportsPass()
			s.exchange(offeranswer.Callee) // a re-offer changes nothing
			s.bothFlow()
		})
	}
}

// The port is shared with those who have UDP, and takes no sound from strangers.
func TestTCPStrangers(t *testing.T) {
	b := start(t, Config{TCP: true})
	caller := newTCPBrowser(t, loopback)
	s := newSetup(t, b, caller, newPhone(t))
	_, answer := s.exchange(offeranswer.Caller)
	s.establish(offeranswer.Caller)
	candidate := strings.Fields(passive(answer)[0])
	port := net.JoinHostPort(candidate[4], candidate[5])
	closed := func(what string, frames ...[]byte) {
		t.Helper()
		conn, err := net.Dial("tcp", port)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		for _, f := range frames {
			_, _ = conn.Write(f)
		}
		_ = conn.SetReadDeadline(time.Now().Add(wait))
		if _, err := io.ReadAll(conn); err != nil && !isReset(err) {
			t.Errorf("%s: got %v, want a closed connection", what, err)
		}
	}
	frame := func(p []byte) []byte { return append(binary.BigEndian.AppendUint16(nil, uint16(len(p))), p...) }
	closed("RTP before a check", frame(append([]byte{0x80, 0}, make([]byte, 40)...)))
	closed("a ClientHello", frame(clientHello))
	closed("a frame that is too long", []byte{0xff, 0xff})
	closed("an empty frame", []byte{0, 0})
	closed("TLS", []byte{22, 3, 1, 2, 0, 1})
	closed("HTTP", []byte("GET / HTTP/1.1\r\n\r\n"))

	// Who says nothing keeps others of his address away, and only them.
	var silent []net.Conn
	for range 40 {
		conn, err := net.Dial("tcp", port)
		if err != nil {
			t.Fatal(err)
		}
		silent = append(silent, conn)
		defer conn.Close()
	}
	_ = silent[39].SetReadDeadline(time.Now().Add(wait))
	if _, err := silent[39].Read(make([]byte, 1)); err == nil || !isReset(err) && err != io.EOF {
		t.Errorf("the 40th silent connection: got %v, want it closed", err)
	}
	s.bothFlow()
}

// isReset tells of the end of a connection whose last octets were not read.
func isReset(err error) bool {
	e, ok := err.(net.Error)
	return ok && !e.Timeout()
}
