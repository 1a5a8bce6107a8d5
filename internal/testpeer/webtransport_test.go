//go:build integration

package testpeer

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/ice/v4"
	"github.com/pion/srtp/v3"
	"github.com/pion/transport/v5/packetio"
)

// dtlsConn is the part of an ICE connection that belongs to DTLS: split fills the buffer.
type dtlsConn struct {
	*packetio.Buffer
	ice *ice.Conn
}

var _ net.PacketConn = (*dtlsConn)(nil)

func (c *dtlsConn) ReadFrom(p []byte) (int, net.Addr, error) {
	n, _, err := c.Read(p, nil)
	return n, c.RemoteAddr(), err
}

func (c *dtlsConn) WriteTo(p []byte, _ net.Addr) (int, error) { return c.ice.Write(p) }
func (c *dtlsConn) LocalAddr() net.Addr                       { return c.ice.LocalAddr() }
func (c *dtlsConn) RemoteAddr() net.Addr                      { return c.ice.RemoteAddr() }
func (c *dtlsConn) SetDeadline(t time.Time) error             { return c.SetReadDeadline(t) }
func (c *dtlsConn) SetWriteDeadline(time.Time) error          { return nil }

// split gives each packet of an ICE connection to its protocol by the first octet (RFC 7983 §7). It
// ends when the agent is closed, and ends both receivers.
func split(conn *ice.Conn, toDTLS *packetio.Buffer, toSRTP chan<- []byte) {
	defer close(toSRTP)
	defer toDTLS.Close()
	buf := make([]byte, 2048)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		switch {
		case n < 12:
		case buf[0] >= 20 && buf[0] <= 63:
			_, _ = toDTLS.Write(buf[:n], nil)
		case buf[0] >= 128 && buf[0] <= 191:
			select {
			case toSRTP <- append([]byte(nil), buf[:n]...):
			default: // nobody listens yet: lost, as a socket's buffer would lose it
			}
		}
	}
}

// contexts derives both directions' SRTP contexts from the handshake (RFC 5764 §4.2).
func contexts(c *dtls.Conn, client bool) (encrypt, decrypt *srtp.Context, err error) {
	state, ok := c.ConnectionState()
	profile, agreed := c.SelectedSRTPProtectionProfile()
	if !ok || !agreed {
		return nil, nil, errors.New("DTLS: no SRTP profile agreed")
	}
	config := &srtp.Config{Profile: srtp.ProtectionProfile(profile)}
	if err := config.ExtractSessionKeysFromDTLS(&state, client); err != nil {
		return nil, nil, err
	}
	k := config.Keys
	if encrypt, err = srtp.CreateContext(k.LocalMasterKey, k.LocalMasterSalt, config.Profile); err != nil {
		return nil, nil, err
	}
	decrypt, err = srtp.CreateContext(k.RemoteMasterKey, k.RemoteMasterSalt, config.Profile, srtp.SRTPReplayProtection(64), srtp.SRTCPReplayProtection(64))
	return encrypt, decrypt, err
}

func asClient(options []dtls.Option) []dtls.ClientOption {
	out := make([]dtls.ClientOption, len(options))
	for i, o := range options {
		out[i] = o
	}
	return out
}

func asServer(options []dtls.Option) []dtls.ServerOption {
	out := make([]dtls.ServerOption, len(options))
	for i, o := range options {
		out[i] = o
	}
	return out
}

// webSDP is what a browser needs of a description with one section.
type webSDP struct {
	ufrag, pwd, fingerprint, setup, mid, direction, ssrc string

	candidates []string
	formats    []format
}

// parseWebSDP reads the gateway's description as a browser would, and refuses what a browser
// refuses: no fingerprint, no ICE, no mux, no candidate.
func parseWebSDP(text string) (*webSDP, error) {
	d := &webSDP{direction: "sendrecv"}
	maps := map[string]string{"0": "PCMU/8000", "8": "PCMA/8000", "9": "G722/8000"}
	var profile, port, order string
	mux := false
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		key, value, _ := strings.Cut(strings.TrimPrefix(line, "a="), ":")
		switch {
		case strings.HasPrefix(line, "m="):
			if profile != "" {
				return nil, errors.New("a second m= section")
			}
			f := strings.SplitN(line, " ", 4)
			if len(f) != 4 || f[0] != "m=audio" && f[0] != "m=video" {
				return nil, fmt.Errorf("m= line %q", line)
			}
			port, profile, order = f[1], f[2], f[3]
		case key == "ice-ufrag":
			d.ufrag = value
		case key == "ice-pwd":
			d.pwd = value
		case key == "fingerprint":
			d.fingerprint = value
		case key == "setup":
			d.setup = value
		case key == "mid":
			d.mid = value
		case key == "ssrc":
			d.ssrc, _, _ = strings.Cut(value, " ")
		case key == "candidate":
			d.candidates = append(d.candidates, value)
		case key == "rtpmap":
			pt, mapping, _ := strings.Cut(value, " ")
			maps[pt] = mapping
		case line == "a=rtcp-mux":
			mux = true
		case slices.Contains([]string{"a=sendrecv", "a=sendonly", "a=recvonly", "a=inactive"}, line):
			d.direction = key
		}
	}
	if port == "0" || (profile != "UDP/TLS/RTP/SAVPF" && profile != "RTP/SAVPF") {
		return nil, fmt.Errorf("port %q, profile %q", port, profile)
	}
	if d.ufrag == "" || d.pwd == "" || d.fingerprint == "" || d.setup == "" || !mux || len(d.candidates) == 0 {
		return nil, fmt.Errorf("no description a browser would take:\n%s", text)
	}
	for f := range strings.FieldsSeq(order) {
		pt, err := strconv.ParseUint(f, 10, 7)
		if err != nil || maps[f] == "" {
			return nil, fmt.Errorf("format %q, map %q", f, maps[f])
		}
		d.formats = append(d.formats, format{uint8(pt), maps[f]})
	}
	return d, nil
}

// reverse is the answer's direction to an offer's (RFC 3264 §6.1).
func reverse(direction string) string {
	switch direction {
	case "sendonly":
		return "recvonly"
	case "recvonly":
		return "sendonly"
	}
	return direction
}

// token returns n random letters.
func token(n int) string {
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789"
	b := make([]byte, n)
	for i := range b {
		b[i] = letters[rand.IntN(len(letters))]
	}
	return string(b)
}
