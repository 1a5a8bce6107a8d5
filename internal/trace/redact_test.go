package trace

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestRedact(t *testing.T) {
	const sdp = "v=0\r\na=ice-ufrag:abcd\r\na=ice-pwd:S3CRET\r\nA=CRYPTO:1 AES inline:S3CRET\r\na = crypto:2 S3CRET\r\na=acap:1 crypto:1 AES inline:S3CRET\r\nk=clear:S3CRET\r\na=key-mgmt:mikey S3CRET\r\nhere is the S3CRET\r\na=sendrecv\r\n"
	for _, row := range []struct {
		name string
		raw  string
		keep []string
	}{
		{"untouched", invite("a@h", "b@h", "c1", "X-Odd:   two  blanks "), []string{invite("a@h", "b@h", "c1", "X-Odd:   two  blanks ")}},
		{
			"credentials", text("REGISTER sip:example.com SIP/2.0", `Authorization: Digest username="alice",`, ` response="S3CRET"`, "Subject: kept",
				"proxy-authorization  : S3CRET", "WWW-Authenticate:S3CRET", "Authentication-Info: S3CRET", "Cookie: S3CRET", "X-Auth-Token: S3CRET", "y: S3CRET"),
			[]string{"REGISTER", "Subject: kept", "\r\nAuthorization: ***\r\n", "\r\ny: ***\r\n"},
		},
		{"no header after a secret one", text("OPTIONS sip:h SIP/2.0", "Authorization: x", "S3CRET without a colon", "Subject: kept"), []string{"Subject: kept"}},
		{"bare CR", "OPTIONS sip:h SIP/2.0\r\nSubject: a\rAuthorization: S3CRET\r\n\r\n", []string{"Subject: a"}},
		{
			"ha1 of sipML5", text("INVITE sip:a:S3CRET@h:5060;x=y SIP/2.0", `m: "A"<sip:a@h:5060;transport=wss>;impi=S3CRET@h;HA1=S3CRET;expires=3`, "Contact: <sip:a@h>;ha1 =", " S3CRET;q=1",
				`Contact: <sip:a@h>;ha1="a S3CRET; \" S3CRET";q=.5`, "Refer-To: <sip:b@h?Authorization=S3CRET&Subject=x>"),
			[]string{"sip:a:***@h:5060;x=y", "<sip:a@h:5060;transport=wss>;impi=***;HA1=***;expires=3", "ha1 = ***;q=1", `ha1=***;q=.5`, "?Authorization=***&Subject=x>"},
		},
		{
			"SDP", text("INVITE sip:a@h SIP/2.0", "c: application/SDP; charset=x", "l: 999", "Subject: kept") + sdp,
			[]string{
				"v=0", "a=ice-ufrag:abcd", "a=ice-pwd:***", "a=crypto:***", "a=acap:***", "k=***", "a=key-mgmt:***", "a=sendrecv", "Content-Length: ",
			},
		},
		{"text", text("MESSAGE sip:a@h SIP/2.0", "Content-Type: text/plain", "Content-Length: 6", "Subject: kept") + "S3CRET", []string{"Content-Length: 10\r\nSubject: kept\r\n\r\n[6 octets]"}},
		{"digits", text("INFO sip:a@h SIP/2.0", "Content-Type: application/dtmf-relay") + "Signal=S3CRET", []string{"[13 octets]"}},
		{"two types", text("MESSAGE sip:a@h SIP/2.0", "Content-Type: application/sdp", "Content-Type: text/plain") + "s=S3CRET", []string{"[8 octets]"}},
		{"encoded", text("MESSAGE sip:a@h SIP/2.0", "Content-Type: application/sdp", "Content-Encoding: gzip") + "s=S3CRET", []string{"[8 octets]"}},
		{"no type", text("MESSAGE sip:a@h SIP/2.0") + "s=S3CRET", []string{"[8 octets]"}},
		{"bare line feeds", "MESSAGE sip:a@h SIP/2.0\nAuthorization: S3CRET\n\nS3CRET", []string{"MESSAGE", "[6 octets]"}},
		{"secret in place of a start line", text("Authorization: S3CRET", " S3CRET"), []string{"Authorization: ***"}},
		{"start line looks like a header", "Content-Type: application/sdp\r\n\r\ns=S3CRET", []string{"[8 octets]"}},
		{"no end", "MESSAGE sip:a@h SIP/2.0\r\nAuthorization: S3CRET", []string{"MESSAGE"}},
		{"keep-alive", "\r\n\r\n", nil},
		{"nothing", "", nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			got := string(redact([]byte(row.raw), false))
			if strings.Contains(got, "S3CRET") {
				t.Errorf("a secret is in %q", got)
			}
			for _, k := range row.keep {
				if !strings.Contains(got, k) {
					t.Errorf("%q is not in %q", k, got)
				}
			}
			head, body, _ := strings.Cut(got, "\r\n\r\n")
			if _, length, found := strings.Cut(head, "Content-Length: "); found {
				length, _, _ = strings.Cut(length, "\r\n")
				if length != fmt.Sprint(len(body)) {
					t.Errorf("Content-Length is %s, the body has %d octets", length, len(body))
				}
			}
		})
	}
}

func TestMaskNumbers(t *testing.T) {
	for _, row := range []struct{ line, want string }{
		{"INVITE sip:+4930123456@example.com SIP/2.0", "INVITE sip:+******3456@example.com SIP/2.0"},
		{"To: tel:+49-30-123456;phone-context=x", "To: tel:+**-**-**3456;phone-context=x"},
		{`From: "Call 030 123456" <sips:0049(30)123456;isub=12345@h>;tag=1234567`, `From: "Call *** **3456" <sips:****(**)**3456;isub=*2345@h>;tag=1234567`},
		{"f: 030123456 <sip:alice@192.168.100.200:5060>", "f: *****3456 <sip:alice@192.168.100.200:5060>"},
		{"P-Asserted-Identity: <sip:a:***@h>, <tel:030123456>", "P-Asserted-Identity: <sip:a:***@h>, <tel:*****3456>"},
		{"Contact: <sip:%34%39%33%30%31%32%33@h>", "Contact: <sip:***0123@h>"},
		{"To: <sip:1000@h>", "To: <sip:1000@h>"},
		{"Call-ID: 0123456789@192.0.2.1", "Call-ID: 0123456789@192.0.2.1"},
		{"Via: SIP/2.0/UDP 192.168.100.200:50600;branch=z9hG4bK1234567", "Via: SIP/2.0/UDP 192.168.100.200:50600;branch=z9hG4bK1234567"},
		{"Subject: 1234567", "Subject: 1234567"},
	} {
		message := "OPTIONS sip:h SIP/2.0\r\n" + row.line + "\r\n\r\n"
		if strings.HasPrefix(row.line, "INVITE") {
			message = row.line + "\r\n\r\n"
		}
		if got := string(redact([]byte(message), true)); !strings.Contains(got, row.want+"\r\n") {
			t.Errorf("%s: got %q, want %q", row.line, got, row.want)
		}
		if got := string(redact([]byte(message), false)); got != message {
			t.Errorf("%s: got %q with the switch off", row.line, got)
		}
	}
}

// hostile are messages of peers who write for the log: escapes, line ends,
// format strings, secrets and numbers.
func hostile() (messages []string) {
	for _, s := range []string{
		"\x1b[2J\x1b]0;owned\x07", "\x9b31m", "a\rb", "a\nb", "a\vb\fc", "\x00", "\x7f\x08\x08", "%s%n%d%x", "%!s(MISSING)",
		"\u202eabc", "\u2028x\u2029y", "\u200b\ufeff", "\xff\xfe", "\u009b2J", "${jndi:ldap://x}", "<script>alert(1)</script>",
		`"} level=ERROR msg="forged`, "\",\"level\":\"ERROR\"", "time=2026-01-01 level=ERROR msg=forged", strings.Repeat("A", 4000), "\t\t\t",
	} {
		messages = append(messages, invite("alice@h", "b@h", "c1", "Subject: "+s), invite("alice@h", "b@h", s))
	}
	return append(
		messages,
		invite("alice@h", "b@h", "c1", "Authorization: Digest response=S3CRET"),
		invite("alice@h", "b@h", "c1", "Contact: <sip:a:S3CRET@h>;ha1=S3CRET;token=S3CRET"),
		invite("alice@h", "0301234567@h", "c1", `P-Asserted-Identity: "0301234567" <tel:+49301234567>`),
	)
}

// One message is one line, without commands to the terminal, secrets and
// numbers, whatever is in it (text and JSON).
func TestHostileTextInLog(t *testing.T) {
	f := flow(t, "WS", "192.0.2.7:5060")
	for i, m := range hostile() {
		for kind, handler := range map[string]func(*bytes.Buffer) slog.Handler{
			"text": func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
			"JSON": func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
		} {
			var out bytes.Buffer
			tr := New(Config{Logger: slog.New(handler(&out)), MaskNumbers: true})
			if err := tr.Follow("alice", 0); err != nil {
				t.Fatal(err)
			}
			tr.Message(f, false, []byte(m))
			got := out.String()
			if strings.Count(got, "\n") != 1 || !strings.HasSuffix(got, "\n") {
				t.Errorf("%s %d: not one line: %q", kind, i, got)
			}
			if kind == "JSON" && !json.Valid(out.Bytes()) {
				t.Errorf("%d: no JSON: %q", i, got)
			}
			for _, bad := range []string{"\x1b", "\r", "\x00", "\x07", "\x7f", "\u009b", "\u202e", "\u2028", "S3CRET", "1234567"} {
				if strings.Contains(got, bad) {
					t.Errorf("%s %d: %q is in %q", kind, i, bad, got)
				}
			}
		}
	}
}

// FuzzRedact plants a secret behind whatever a peer may send before it.
func FuzzRedact(f *testing.F) {
	for _, m := range hostile() {
		f.Add([]byte(m))
	}
	f.Add([]byte(text("INVITE sip:a SIP/2.0", "Content-Type: application/sdp") + "v=0\r\na=x:"))
	f.Fuzz(func(t *testing.T, before []byte) {
		if bytes.Contains(before, []byte("PL4NTED")) {
			t.Skip()
		}
		for _, numbers := range []bool{false, true} {
			raw := append(bytes.Clone(before), "\r\nAuthorization: PL4NTED\r\n PL4NTED\r\n\r\nPL4NTED"...)
			if got := redact(raw, numbers); bytes.Contains(got, []byte("PL4NTED")) {
				t.Errorf("the secret is in %q", got)
			}
		}
		partiesOf(before)
	})
}

func BenchmarkRedact(b *testing.B) {
	raw := []byte(invite("alice@example.com", "bob@example.com", "c1@192.0.2.7", "Authorization: Digest x", "Max-Forwards: 70",
		"Contact: <sip:alice@192.0.2.7;transport=ws>;expires=600", "User-Agent: JsSIP", "Content-Type: application/sdp", "Content-Length: 40") +
		"v=0\r\na=ice-pwd:abc\r\na=ice-ufrag:abc\r\n")
	b.ReportAllocs()
	for b.Loop() {
		redact(raw, false)
	}
}
