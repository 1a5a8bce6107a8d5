package trace

import (
	"bytes"
	"log/slog"
	"net/netip"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"webrtc2sip/internal/sipstack"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var _ sipstack.Tracer = (*Tracer)(nil)

// text makes a message of lines.
func text(lines ...string) string { return strings.Join(lines, "\r\n") + "\r\n\r\n" }

// invite is a request of one user to another.
func invite(from, to, callID string, more ...string) string {
	return text(append([]string{
		"INVITE sip:" + to + " SIP/2.0",
		"Via: SIP/2.0/UDP 192.0.2.7:5060;branch=z9hG4bK1",
		"From: <sip:" + from + ">;tag=a1",
		"To: <sip:" + to + ">",
		"Call-ID: " + callID,
		"CSeq: 1 INVITE",
	}, more...)...)
}

// flow is one on which nothing is sent.
func flow(t testing.TB, transport sipstack.Transport, remote string) *sipstack.Flow {
	t.Helper()
	f, _, err := sipstack.New(sipstack.Config{}).Pipe(transport, netip.MustParseAddrPort(remote))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// logTo gives a logger that writes text lines at Info.
func logTo(out *bytes.Buffer) *slog.Logger {
	return slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: slog.LevelInfo}))
}
