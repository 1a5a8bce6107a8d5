package trace

import (
	"regexp"
	"strconv"
	"strings"
	"unicode"
)

// mask stands where something was taken out.
const mask = "***"

// secretWords mark headers whose values are credentials or what they are made
// from: Authorization, WWW-Authenticate, Authentication-Info and their Proxy-
// forms (RFC 3261 §20), Cookie, and the inventions of applications. They are
// looked for anywhere in the name, since a name that nobody knows is better
// masked than shown.
var secretWords = []string{"auth", "cookie", "token", "secret", "passw"}

// secretParams finds secrets in parameters of headers and URIs: sipML5 sends
// ha1, which is as good as a password, in Contact, and Refer-To may carry whole
// headers. The names may stand in quotes, escaped or with blanks around the
// equal sign; a value in quotes may hold anything.
var secretParams = regexp.MustCompile(
	`(?i)((?:ha1|impi|password|passwd|secret|token|authorization)\s*=\s*)("(?:[^"\\]|\\.)*"?|[^;>,&\s"]+)`)

// paramWords are the names of secretParams, in lower case.
var paramWords = []string{"ha1", "impi", "passw", "secret", "token", "authorization"}

// secretUserinfo finds the password of a URI (RFC 3261 §19.1.1).
var secretUserinfo = regexp.MustCompile(`(?i)(\bsips?:[^:@<>\s"]*:)[^@<>\s"]*@`)

// secretAttributes are lines of SDP that hold keys: RFC 8839 §5.4, RFC 4568, RFC 5939,
// RFC 4567, and k= of RFC 8866.
var secretAttributes = []string{"a=ice-pwd:", "a=crypto:", "a=acap:", "a=key-mgmt:", "k="}

// blanks are no part of SDP's left sides, but a lenient reader takes them.
var blanks = strings.NewReplacer(" ", "", "\t", "")

// redact gives a copy of a SIP message as it may be shown: without credentials
// and keys, of the body only SDP, folded lines joined, and Content-Length as it
// is then. Of telephone numbers only the last four digits are left if numbers
// is set.
func redact(raw []byte, numbers bool) []byte {
	var head []string
	var body []byte
	sdp, length, secret := false, -1, false
	for line, rest := range lines(raw) {
		body = rest
		name, value := field(line)
		isHeader := len(head) > 0 && name != ""
		switch {
		case isHeader && (name == "content-type" || name == "content-encoding"):
			sdp = !sdp && isSDP(name, value) // given twice it is not to be believed
		case isHeader && name == "content-length":
			length = len(head)
		}
		// What is no header field goes with the one before it.
		if isHeader || len(head) == 0 {
			secret = isSecretHeader(name)
		}
		head = append(head, redactLine(line, name, secret, numbers))
	}
	shown := body
	if len(body) > 0 {
		shown = redactBody(body, sdp)
	}
	if length >= 0 && len(shown) != len(body) {
		head[length] = "Content-Length: " + strconv.Itoa(len(shown))
	}
	out := make([]byte, 0, len(raw)+64)
	for _, line := range head {
		out = append(append(out, line...), "\r\n"...)
	}
	return append(append(out, "\r\n"...), shown...)
}

func redactLine(line, name string, secret, numbers bool) string {
	if secret {
		before, _, found := strings.Cut(line, ":")
		if !found {
			return mask
		}
		return before + ": " + mask
	}
	// The expressions are slow and most lines have nothing for them.
	if strings.Contains(line, "=") && hasAny(strings.ToLower(line), paramWords) {
		line = secretParams.ReplaceAllString(line, "${1}"+mask)
	}
	if hasPassword(line) {
		line = secretUserinfo.ReplaceAllString(line, "${1}"+mask+"@")
	}
	if numbers {
		line = maskNumbers(line, name)
	}
	return line
}

func isSecretHeader(name string) bool {
	if name == "identity" { // RFC 8224: what is in it is signed, and can be replayed for a minute
		return true
	}
	return hasAny(name, secretWords)
}

func hasAny(s string, words []string) bool {
	for _, w := range words {
		if strings.Contains(s, w) {
			return true
		}
	}
	return false
}

// hasPassword tells whether secretUserinfo may find something: before an @
// there are two colons, that of the scheme and that of the password.
func hasPassword(line string) bool {
	for {
		before, after, found := strings.Cut(line, "@")
		if !found {
			return false
		}
		if strings.Count(before[strings.LastIndexAny(before, "<>\" \t")+1:], ":") > 1 {
			return true
		}
		line = after
	}
}

func isSDP(name, value string) bool {
	media, _, _ := strings.Cut(value, ";")
	media = strings.ToLower(strings.TrimSpace(media))
	return name == "content-type" && (media == "application/sdp" || media == "application/trickle-ice-sdpfrag")
}

// redactBody gives SDP without its keys, and of anything else the length.
func redactBody(body []byte, sdp bool) []byte {
	if !sdp {
		return []byte("[" + strconv.Itoa(len(body)) + " octets]")
	}
	out := make([]byte, 0, len(body))
	for len(body) > 0 {
		var line []byte
		line, body = cutLine(body)
		out = append(append(out, redactSDP(line)...), "\r\n"...)
	}
	return out
}

func redactSDP(line []byte) []byte {
	if len(line) > 0 && (len(line) < 2 || line[1] != '=' || !unicode.IsLetter(rune(line[0]))) {
		return []byte(mask) // no line of SDP (RFC 8866 §5), so nobody knows what it is
	}
	plain := strings.ToLower(blanks.Replace(string(line)))
	for _, a := range secretAttributes {
		if strings.HasPrefix(plain, a) {
			return []byte(a + mask)
		}
	}
	return line
}

// addressed are the headers with display names, which may be numbers.
var addressed = map[string]bool{
	"from": true, "to": true, "contact": true, "reply-to": true, "refer-to": true, "referred-by": true,
	"p-asserted-identity": true, "p-preferred-identity": true, "p-called-party-id": true, "remote-party-id": true,
	"diversion": true, "history-info": true,
}

var (
	number      = regexp.MustCompile(`[0-9][0-9().\- ]*[0-9]`)
	uriUser     = regexp.MustCompile(`(?i)\b(?:sips?:[^@:;<>?\s"]+(?:[:;][^@<>\s"]*)?@|tel:[^;<>?\s,"]+)`)
	displayName = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|[^<>,;="]*<`)
)

// maskNumbers leaves the last four digits of the numbers in a line: in the
// users of URIs, and in the display names of headers that have them.
func maskNumbers(line, name string) string {
	line = uriUser.ReplaceAllStringFunc(line, lastDigits)
	if addressed[name] {
		line = displayName.ReplaceAllStringFunc(line, lastDigits)
	}
	return line
}

// lastDigits masks the digits of numbers but their last four. Shorter numbers
// are extensions and stay.
func lastDigits(s string) string {
	return number.ReplaceAllStringFunc(unescapeDigits(s), func(n string) string {
		digits := []byte(n)
		left := 4
		for i := len(digits) - 1; i >= 0; i-- {
			if digits[i] < '0' || digits[i] > '9' {
				continue
			}
			if left--; left < 0 {
				digits[i] = '*'
			}
		}
		return string(digits)
	})
}

var escapedDigit = regexp.MustCompile(`%3[0-9]`)

// unescapeDigits spells out digits that are hidden as escapes (RFC 3261
// §19.1.4): %34 is 4.
func unescapeDigits(s string) string {
	return escapedDigit.ReplaceAllStringFunc(s, func(e string) string { return e[2:] })
}

// printable makes one line of the log of a message: the handler escapes line
// ends, but not all of them escape the other controls, by which a peer could
// command a terminal or turn the direction of the text.
func printable(message []byte) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\r':
			return -1
		case r == '\n' || r == '\t':
			return r
		case unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == '\u2028' || r == '\u2029':
			return '?'
		}
		return r
	}, strings.ToValidUTF8(string(message), "?"))
}
