package testpeer

import (
	_ "embed"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

//go:embed testdata/kamailio.cfg
var kamailioConfig []byte

// KamailioDomain is the domain whose users register at the test's Kamailio.
const KamailioDomain = "kamailio.example"

// Kamailio is a registrar and record-routing proxy over UDP without authentication. It knows Path,
// keeps its bindings in memory, and takes both [KamailioDomain] and its own address for its domain.
type Kamailio struct {
	*Process
	Port int
	// WS is its port for SIP over WebSocket, 0 for none.
	WS int
	// TLS is its port for SIP over TLS, 0 for none.
	TLS int
}

// StartKamailio starts it on a free port of 127.0.0.1 and returns when it answers.
func StartKamailio(t testing.TB) *Kamailio {
	t.Helper()
	return startKamailio(t, &Kamailio{})
}

// StartWebKamailio starts one that serves browsers, too, without a gateway before it.
func StartWebKamailio(t testing.TB) *Kamailio {
	t.Helper()
	return startKamailio(t, &Kamailio{WS: FreePort(t)})
}

// StartSecureKamailio starts one that serves TLS, too, with a key and a certificate in PEM files.
func StartSecureKamailio(t testing.TB, key, certificate string) *Kamailio {
	t.Helper()
	k := &Kamailio{TLS: FreePort(t)}
	return startKamailio(t, k, fmt.Sprintf("TLSPORT=%d", k.TLS), fmt.Sprintf("TLSKEY=%q", key), fmt.Sprintf("TLSCERT=%q", certificate))
}

// StartStrictKamailio is StartSecureKamailio for one that demands certificates of an authority, a PEM
// file, and shows its own to those whom it calls.
func StartStrictKamailio(t testing.TB, key, certificate, authority string) *Kamailio {
	t.Helper()
	k := &Kamailio{TLS: FreePort(t)}
	return startKamailio(t, k, fmt.Sprintf("TLSPORT=%d", k.TLS), fmt.Sprintf("TLSKEY=%q", key), fmt.Sprintf("TLSCERT=%q", certificate),
		fmt.Sprintf("TLSCLIENTCA=%q", authority))
}

// StartOutboundKamailio starts one that knows several flows of a device (RFC 5626), and fails over
// from one to the next.
func StartOutboundKamailio(t testing.TB) *Kamailio {
	t.Helper()
	return startKamailio(t, &Kamailio{}, "OUTBOUND")
}

func startKamailio(t testing.TB, k *Kamailio, defines ...string) *Kamailio {
	t.Helper()
	program := Require(t, "kamailio")
	dir := t.TempDir()
	file := filepath.Join(dir, "kamailio.cfg")
	if err := os.WriteFile(file, kamailioConfig, 0o600); err != nil {
		t.Fatal(err)
	}
	k.Port = FreePort(t)
	args := []string{
		"-DD", "-E", "-m", "32", "-M", "4", "-Y", dir, "-P", filepath.Join(dir, "kamailio.pid"),
		"-f", file,
	}
	defines = append(defines, fmt.Sprintf("SIPPORT=%d", k.Port))
	if k.WS != 0 {
		defines = append(defines, fmt.Sprintf("WSPORT=%d", k.WS))
	}
	for _, d := range defines {
		args = append(args, "-A", d)
	}
	k.Process = Start(t, "kamailio", dir, program, args...)
	k.ready(t, "answer to OPTIONS", func() bool {
		status, err := exchange(k.Addr(), "OPTIONS", "sip:"+KamailioDomain, "ping", "")
		return err == nil && status == 200
	})
	return k
}

// Addr is where it listens, "127.0.0.1:port".
func (k *Kamailio) Addr() string { return net.JoinHostPort(loopback, strconv.Itoa(k.Port)) }

// URI is the address of record of one of its users, with the address in place of the domain, so
// that it can be resolved by those who have no outbound proxy.
func (k *Kamailio) URI(user string) string { return fmt.Sprintf("sip:%s@%s", user, k.Addr()) }

// Bind registers a contact for a user who does not do so himself, such as a SIPp UAS.
func (k *Kamailio) Bind(t testing.TB, user, contact string) {
	t.Helper()
	status, err := exchange(k.Addr(), "REGISTER", "sip:"+KamailioDomain, user,
		fmt.Sprintf("Contact: <%s>\r\nExpires: 600\r\n", contact))
	if err != nil || status != 200 {
		t.Fatalf("bind %s to %s: status %d, %v", user, contact, status, err)
	}
}

// exchange sends one request of a user of Kamailio's and returns the status of the final response.
// It does not retransmit: over loopback a message is lost only when nobody listens yet.
func exchange(to, method, uri, user, headers string) (int, error) {
	c, err := net.Dial("udp4", to)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	return exchangeOver(c, "UDP", method, uri, user, headers)
}

// exchangeOver is exchange over a connection.
func exchangeOver(c net.Conn, transport, method, uri, user, headers string) (int, error) {
	id := strconv.FormatInt(time.Now().UnixNano(), 36)
	fmt.Fprintf(c, "%s %s SIP/2.0\r\nVia: SIP/2.0/%s %s;branch=z9hG4bK%s;rport\r\nMax-Forwards: 70\r\n"+
		"From: <sip:%s@%s>;tag=%s\r\nTo: <sip:%s@%s>\r\nCall-ID: %s\r\nCSeq: 1 %s\r\n%sContent-Length: 0\r\n\r\n",
		method, uri, transport, c.LocalAddr(), id, user, KamailioDomain, id, user, KamailioDomain, id, method, headers)
	if err := c.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
		return 0, err
	}
	buf := make([]byte, 64<<10)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return 0, err
		}
		fields := strings.Fields(string(buf[:n]))
		if len(fields) < 2 || fields[0] != "SIP/2.0" {
			continue
		}
		status, err := strconv.Atoi(fields[1])
		if err != nil || status >= 200 {
			return status, err
		}
	}
}
