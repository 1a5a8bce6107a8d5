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
