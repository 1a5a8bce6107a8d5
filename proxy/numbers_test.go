package proxy

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"webrtc2sip/internal/admission"
	"webrtc2sip/internal/sipstack"
)

// Inside a call a browser calls nobody else: neither by a To tag that the call
// does not have, nor by another Request-URI, nor by a Route of its own making
// that takes its place at a strict router.
func TestNumbersInsideACall(t *testing.T) {
	const premium = "sip:0900123456@192.0.2.10"
	for _, row := range []struct {
		name, start, tag, route, want string
	}{
		{"remote target", "INVITE sip:2000@192.0.2.10:5060", "t1", "", ""},
		{"tag of nobody", "INVITE sip:2000@192.0.2.10:5060", "junk", "", "481"},
		{"tag of nobody, INFO", "INFO sip:2000@192.0.2.10:5060", "junk", "", "481"},
		{"other Request-URI", "INVITE " + premium, "t1", "", "403 Number Not Allowed"},
		{"other Request-URI, UPDATE", "UPDATE " + premium, "t1", "", "403 Number Not Allowed"},
		{"other Request-URI that may be", "INVITE sip:2001@192.0.2.10", "t1", "", ""},
		{"both", "INVITE " + premium, "junk", "", "481"},
		{"BYE", "BYE " + premium, "t1", "", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			cfg := guarded()
			cfg.Admission.Numbers = rules(t, admission.RulesConfig{Deny: []string{"0900"}})
			run(t, cfg, func(w *world) {
				w.enrolled(w.browser, jsSIPContact)
				ok, _ := w.established()
				method, _, _ := strings.Cut(row.start, " ")
				w.browser.request(row.start, "", append(routesOf(ok), "To: <sip:2000@pbx.example.net>;tag="+row.tag, "CSeq: 200 "+method, callerContact)...)
				if row.want == "" {
					w.pbx.want(row.start + " ")
					return
				}
				w.browser.want("SIP/2.0 " + row.want)
				w.pbx.nothing(time.Second)
			})
		})
	}
}

// A Route without lr takes the place of the Request-URI at a strict router
// (RFC 3261 §16.4), so its user is called.
func TestNumbersInRoutes(t *testing.T) {
	for route, want := range map[string]string{
		"Route: <sip:0900123456@192.0.2.10>":                               "403 Number Not Allowed",
		"Route: <sip:192.0.2.10;lr>\r\nRoute: <sip:0900123456@192.0.2.10>": "403 Number Not Allowed",
		"Route: <sip:2001@192.0.2.10>":                                     "",
		"Route: <sip:192.0.2.10>":                                          "",
		"Route: <sip:0900123456@192.0.2.10;lr>":                            "",
	} {
		t.Run(route, func(t *testing.T) {
			cfg := guarded()
			cfg.Admission.Numbers = rules(t, admission.RulesConfig{Deny: []string{"0900"}})
			run(t, cfg, func(w *world) {
				w.enrolled(w.browser, jsSIPContact)
				w.browser.request("MESSAGE sip:2000@192.0.2.10", "", route)
				if want == "" {
					w.pbx.want("MESSAGE ")
					return
				}
				w.browser.want("SIP/2.0 " + want)
				w.pbx.nothing(time.Second)
			})
		})
	}
}

// A transfer is a call, too: inside of a call and outside.
func TestTransferToAForbiddenNumber(t *testing.T) {
	const premium = "Refer-To: <sip:0900123456@pbx.example.net>"
	for _, row := range []struct {
		name    string
		headers []string
		want    string
	}{
		{"allowed", []string{"Refer-To: <sip:2001@pbx.example.net>"}, ""},
		{"attended", []string{"Refer-To: <sip:2001@pbx.example.net?Replaces=a%3Bto-tag%3Db%3Bfrom-tag%3Dc>"}, ""},
		{"premium", []string{premium}, "403 Number Not Allowed"},
		{"compact", []string{"r: sip:0900123456@pbx.example.net"}, "403 Number Not Allowed"},
		{"tel", []string{"Refer-To: <tel:+49900123456>"}, "403 Number Not Allowed"},
		{"two", []string{"Refer-To: <sip:2001@pbx.example.net>", premium}, "400"},
		{"unreadable", []string{"Refer-To: <sip:"}, "400"},
		{"with an identity", []string{"Refer-To: <sip:2001@pbx.example.net?P-Asserted-Identity=%3Csip%3A1%40x%3E>"}, "400"},
		{"with an identity, escaped", []string{"Refer-To: <sip:2001@pbx.example.net?p-%61sserted-identity=x>"}, "400"},
	} {
		cfg := guarded()
		cfg.StripHeaders = []string{"P-Asserted-Identity"}
		cfg.Admission.Numbers = rules(t, admission.RulesConfig{Deny: []string{"+49900", "0900"}, CountryCode: "49", NationalPrefix: "0", InternationalPrefix: "00"})
		check := func(w *world, method string) {
			w.t.Helper()
			if row.want == "" {
				w.pbx.want(method)
				return
			}
			w.browser.want("SIP/2.0 " + row.want)
			w.pbx.nothing(time.Second)
		}
		t.Run("inside/"+row.name, func(t *testing.T) {
			run(t, cfg, func(w *world) {
				w.enrolled(w.browser, jsSIPContact)
				ok, _ := w.established()
				w.browser.request("REFER sip:2000@192.0.2.10:5060", "", append(append(routesOf(ok), "To: "+ok.one("To"), callerContact), row.headers...)...)
				check(w, "REFER ")
			})
		})
		t.Run("outside/"+row.name, func(t *testing.T) {
			run(t, cfg, func(w *world) {
				w.enrolled(w.browser, jsSIPContact)
				w.browser.request("REFER sip:2000@192.0.2.10:5060", "", append([]string{callerContact}, row.headers...)...)
				check(w, "REFER ")
			})
		})
	}
}

// security: R10, through the proxy.
func TestNumbers(t *testing.T) {
	national := admission.RulesConfig{Allow: []string{"+49", "1*", "2*"}, Deny: []string{"+4919", "+49900"}, CountryCode: "49", NationalPrefix: "0", InternationalPrefix: "00"}
	for _, row := range []struct {
		name string
		uri  string
		ok   bool
	}{
		{"allowed", "sip:+4930123456@192.0.2.10", true},
		{"allowed, national", "sip:030123456@192.0.2.10", true},
		{"extension", "sip:2000@192.0.2.10", true},
		{"name", "sip:alice@192.0.2.10", true},
		{"premium", "sip:0900123456@192.0.2.10", false},
		{"premium, international", "sip:+49900123456@192.0.2.10", false},
		{"premium with 00", "sip:0049900123456@192.0.2.10", false},
		{"premium with separators", "sip:(0)900-12.34.56@192.0.2.10", false},
		{"premium, escaped", "sip:%30%39%30%30123456@192.0.2.10", false},
		{"premium by context", "sip:900123456;phone-context=+49@192.0.2.10;user=phone", false},
		{"premium in full-width digits", "sip:%EF%BC%90%EF%BC%99%EF%BC%90%EF%BC%90123456@192.0.2.10", false},
		{"premium in letters", "sip:0900CALLME@192.0.2.10;user=phone", false},
		{"other country", "sip:+12125551234@192.0.2.10", false},
		{"other country with 011", "sip:0012125551234@192.0.2.10", false},
		{"denied prefix", "sip:+491930123@192.0.2.10", false},
		{"tel premium", "tel:+49-900-123456", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			cfg := guarded()
			cfg.Admission.Numbers = rules(t, national)
			cfg.OutboundProxies = []OutboundProxy{{Domain: "*", Servers: server("192.0.2.10", 5060, sipstack.UDP)}}
			run(t, cfg, func(w *world) {
				w.enrolled(w.browser, jsSIPContact)
				w.browser.request("MESSAGE "+row.uri, "")
				if row.ok {
					w.pbx.want("MESSAGE ")
					return
				}
				w.browser.want("SIP/2.0 403 Number Not Allowed")
				w.pbx.nothing(time.Second)
			})
		})
	}
}

// security: R10. Of 1,000 numbers that an unknown caller dials, 0 INVITEs leave
// for the 800 that are not his to call, and one for each of the 200 that are.
func TestThousandNumbersDialled(t *testing.T) {
	table, err := os.ReadFile("../internal/admission/testdata/thousand.txt")
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{OutboundProxies: []OutboundProxy{{Domain: "*", Servers: server("192.0.2.10", 5060, sipstack.UDP)}}}
	cfg.Admission.Numbers = rules(t, admission.RulesConfig{Allow: []string{"+49"}, CountryCode: "49", NationalPrefix: "0", InternationalPrefix: "00"})
	left, dialled := 0, 0
	run(t, cfg, func(w *world) {
		for line := range strings.Lines(string(table)) {
			kind, quoted, _ := strings.Cut(strings.TrimSpace(line), " ")
			number, err := strconv.Unquote(quoted)
			if err != nil {
				t.Fatal(err)
			}
			dialled++
			uri := "sip:" + written(number) + "@pbx.example.net"
			w.browser.request("INVITE "+uri, "", callerContact, fmt.Sprint("Call-ID: dial-", dialled), "CSeq: 1 INVITE", "To: <"+uri+">")
			if kind != "allowed" {
				if answer := w.browser.want("SIP/2.0 4"); answer.start() != "SIP/2.0 403 Number Not Allowed" {
					t.Errorf("%s %s: %s", kind, quoted, answer.start())
				}
				continue
			}
			w.browser.want("SIP/2.0 100")
			w.pbx.reply(w.pbx.want("INVITE "), "486 Busy Here", "")
			w.pbx.want("ACK ")
			w.browser.want("SIP/2.0 486")
			left++
		}
		w.pbx.nothing(time.Minute)
	})
	if dialled != 1000 || left != 200 {
		t.Errorf("%d INVITEs left for %d numbers", left, dialled)
	}
}

// written gives a number as it stands in a URI: what may not is escaped
// (RFC 3261 §25.1), and what is escaped already stays.
func written(number string) string {
	var b strings.Builder
	for i := range len(number) {
		if c := number[i]; c > ' ' && c < 0x7f && c != '@' && c != '"' && c != '<' && c != '>' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

func rules(t *testing.T, c admission.RulesConfig) *admission.Rules {
	t.Helper()
	r, err := admission.NewRules(c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
