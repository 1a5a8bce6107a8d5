package testpeer

import (
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// CoturnSecret is what the test's TURN server shares with the gateways.
const CoturnSecret = "shared-with-the-gateway"

// Coturn is a TURN server over UDP and TCP whose credentials are made with [CoturnSecret].
type Coturn struct {
	*Process
	Port int
}

// StartCoturn starts it on a free port of 127.0.0.1 and returns when it listens.
func StartCoturn(t testing.TB) *Coturn {
	t.Helper()
	program := Require(t, "turnserver")
	dir := t.TempDir()
	c := &Coturn{Port: FreePort(t)}
	relays := FreePorts(t, 40)
	c.Process = Start(t, "turnserver", dir, program,
		"-n", "--no-cli", "--no-tls", "--no-dtls", "--no-rfc5780", "--log-file", "stdout", "--simple-log", "--verbose",
		"--listening-ip", loopback, "--relay-ip", loopback, "--listening-port", strconv.Itoa(c.Port),
		"--min-port", strconv.Itoa(relays), "--max-port", strconv.Itoa(relays+39), "--allow-loopback-peers",
		"--realm", "turn.example", "--use-auth-secret", "--static-auth-secret", CoturnSecret,
		"--userdb", filepath.Join(dir, "db"), "--pidfile", filepath.Join(dir, "pid"),
	)
	c.ready(t, "open listeners", func() bool { return c.HoldsUDP(c.Port) && c.HoldsTCP(c.Port) })
	return c
}

// URI is that of the server, with "udp" or "tcp".
func (c *Coturn) URI(transport string) string {
	return fmt.Sprintf("turn:%s?transport=%s", net.JoinHostPort(loopback, strconv.Itoa(c.Port)), transport)
}

// Allocated waits until somebody whose name ends so has an allocation.
func (c *Coturn) Allocated(t testing.TB, name string) {
	t.Helper()
	Eventually(t, 30*time.Second, "an allocation of "+name+" at coturn", func() bool {
		return c.Log.Contains(":"+name+">") && c.Log.Contains("ALLOCATE processed, success")
	})
}
