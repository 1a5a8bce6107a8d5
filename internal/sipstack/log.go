package sipstack

import (
	"context"
	"log/slog"
	"regexp"
	"strconv"
	"strings"
)

// debugs tells whether messages are logged.
func (s *Stack) debugs() bool { return s.log.Enabled(context.Background(), slog.LevelDebug) }

// logMessage logs a message at debug level, without what is secret in it.
func (s *Stack) logMessage(verb string, f *Flow, text string) {
	s.log.Debug("message "+verb, "transport", f.transport, "remote", f.remote, "flow", f.ID(), "message", redacted{text})
}

// redacted is a SIP message as it may be logged: credentials are masked, and of
// the body only SDP is left, without its keys.
type redacted struct{ text string }

const mask = "***"

// secretHeaders are those whose values are credentials or what they are made
// from.
var secretHeaders = []string{
	"Authorization", "Proxy-Authorization", "WWW-Authenticate", "Proxy-Authenticate",
	"Authentication-Info", "Proxy-Authentication-Info", "Identity", "Cookie",
}

// secretText finds what is secret wherever it stands: sipML5 sends ha1, which is
// as good as a password, in Contact, and a URI may hold a password.
var secretText = regexp.MustCompile(`(?i)(\b(?:ha1|impi|password)=|\bsips?:[^:@;?<>\s]+:)([^;>,&@\s]+)(@|[;>,&\s]|$)`)

// secretAttributes are lines of SDP that hold keys: RFC 8839, RFC 4568, and
// k= of RFC 8866.
var secretAttributes = []string{"a=ice-pwd:", "a=crypto:", "k="}

// LogValue gives the masked text.
func (r redacted) LogValue() slog.Value {
	head, body, found := strings.Cut(r.text, "\r\n\r\n")
	if !found {
		head, body, _ = strings.Cut(r.text, "\n\n")
	}
	var b strings.Builder
	sdp, secret := false, false
	for line := range strings.SplitSeq(head, "\n") {
		line = strings.TrimSuffix(line, "\r")
		name, value, isHeader := strings.Cut(line, ":")
		folded := strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t")
		if !folded {
			_, full := nameOf(strings.TrimSpace(name))
			secret = isHeader && isSecretHeader(full)
			sdp = sdp || strings.EqualFold(full, "Content-Type") && strings.Contains(strings.ToLower(value), "application/sdp")
		}
		switch {
		case secret && folded:
			continue
		case secret:
			line = name + ": " + mask
		default:
			line = maskParams(line)
		}
		b.WriteString(line + "\n")
	}
	writeBody(&b, body, sdp)
	return slog.StringValue(b.String())
}

func isSecretHeader(name string) bool {
	for _, s := range secretHeaders {
		if strings.EqualFold(s, name) {
			return true
		}
	}
	return false
}

// maskParams masks secret parameters and the passwords of URIs.
func maskParams(line string) string {
	return secretText.ReplaceAllStringFunc(line, func(found string) string {
		part := secretText.FindStringSubmatch(found)
		if part[3] != "@" && !strings.HasSuffix(part[1], "=") {
			return found // "sip:host:5060;"
		}
		return part[1] + mask + part[3]
	})
}

// writeBody writes SDP without its keys, and of anything else the length: what
// people write to each other, and the digits they press, are not ours to log.
func writeBody(b *strings.Builder, body string, sdp bool) {
	switch {
	case body == "":
	case !sdp:
		b.WriteString("\n[" + strconv.Itoa(len(body)) + " octets]")
	default:
		b.WriteByte('\n')
		for line := range strings.Lines(body) {
			for _, a := range secretAttributes {
				if len(line) >= len(a) && strings.EqualFold(line[:len(a)], a) {
					line = line[:len(a)] + mask + "\n"
				}
			}
			b.WriteString(line)
		}
	}
}
