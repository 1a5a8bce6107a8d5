package proxy

import (
	"strings"
	"testing"
	"time"

	"webrtc2sip/internal/offeranswer"
)

// Candidates in INFO end where ICE does.
func TestTrickle(t *testing.T) {
	const fragment = "a=ice-ufrag:abcd\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\na=candidate:1 1 udp 1 192.0.2.1 5000 typ host\r\na=end-of-candidates\r\n"
	for _, row := range []struct {
		name, body string
		cfg        Config
		fromPhone  bool
		want, told string
		passes     bool
	}{
		{"taken", fragment, Config{}, false, "SIP/2.0 200", "1 candidates of caller", false},
		{"malformed", "<xml/>", Config{}, false, "SIP/2.0 400", "", false},
		{"no ICE of ours on that side", fragment, Config{}, true, "SIP/2.0 200", "", true},
		{"no breaker", fragment, Config{Breaker: BreakerNever}, false, "SIP/2.0 200", "", true},
	} {
		t.Run(row.name, func(t *testing.T) {
			run(t, row.cfg, func(w *world) {
				ok, invite := w.established()
				before := w.media.took()
				from, to, uri := w.browser, w.pbx, "sip:2000@192.0.2.10:5060"
				headers := append(routesOf(ok), "To: <sip:2000@pbx.example.net>;tag=t1")
				if row.fromPhone {
					from, to, uri, headers = w.pbx, w.browser, browserTarget, inDialog(invite)
				}
				from.request("INFO "+uri, row.body, append(headers, "Info-Package: trickle-ice", "Content-Type: "+offeranswer.FragmentType)...)
				if row.passes {
					to.reply(to.want("INFO "), "200 OK", "")
				}
				from.want(row.want)
				to.nothing(time.Minute)
				equal(t, "told", strings.TrimPrefix(strings.TrimPrefix(w.media.took(), before), ", "), row.told)
			})
		})
	}
}

// Clients hear that candidates are welcome where their ICE ends here, and only
// they; who is called always, who calls if it speaks of it.
func TestTrickleIsAnnounced(t *testing.T) {
	const taken = "trickle-ice"
	for _, row := range []struct {
		name       string
		cfg        Config
		says       []string // the browser, or the PBX towards it
		fromPhone  bool
		sent, back string // Recv-Info of the INVITE and of its 200, as they arrive
	}{
		{"a browser that takes it", Config{}, []string{"Recv-Info: trickle-ice"}, false, taken, taken},
		{"a browser that supports it", Config{}, []string{"Supported: replaces, trickle-ice"}, false, "", taken},
		{"a browser that says nothing of it", Config{}, nil, false, "", ""},
		{"its media goes past us", Config{Breaker: BreakerNever}, []string{"Supported: trickle-ice"}, false, "", ""},
		{"a browser is called", Config{}, nil, true, taken, ""},
		{"by who takes something else", Config{}, []string{"Recv-Info: conference"}, true, "conference | " + taken, ""},
		{"by who takes it as well", Config{}, []string{"Recv-Info: conference, trickle-ice"}, true, "conference, " + taken, ""},
		{"past us", Config{Breaker: BreakerNever}, nil, true, "", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			run(t, row.cfg, func(w *world) {
				from, to := w.browser, w.pbx
				if row.fromPhone {
					from, to = w.pbx, w.browser
					w.browser.request("REGISTER sip:pbx.example.net", "", outboundRoute, "To: <sip:1000@pbx.example.net>", "Call-ID: reg",
						"Contact: <"+browserTarget+">;expires=600", "Supported: path")
					reg := w.pbx.want("REGISTER ")
					w.pbx.reply(reg, "200 OK", "")
					w.browser.want("SIP/2.0 200")
					w.pbx.request("INVITE "+browserTarget, "sdp-offer", append([]string{
						"Route: " + reg.one("Path"), "From: <sip:2000@pbx.example.net>;tag=p1",
						"To: <sip:1000@pbx.example.net>", phoneContact, "CSeq: 1 INVITE",
					}, row.says...)...)
				} else {
					w.browser.request("INVITE sip:2000@pbx.example.net", "sdp-offer", append([]string{outboundRoute, callerContact, "CSeq: 1 INVITE"}, row.says...)...)
				}
				from.want("SIP/2.0 100")
				invite := to.want("INVITE ")
				equal(t, "Recv-Info of the INVITE", invite.one("Recv-Info"), row.sent)
				to.reply(invite, "180 Ringing", "")
				equal(t, "Recv-Info of the 180", from.want("SIP/2.0 180").one("Recv-Info"), row.back)
				to.reply(invite, "200 OK", "sdp-answer", map[bool]string{false: phoneContact, true: callerContact}[row.fromPhone])
				equal(t, "Recv-Info of the 200", from.want("SIP/2.0 200").one("Recv-Info"), row.back)
			})
		})
	}
}
