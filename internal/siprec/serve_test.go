package siprec

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"webrtc2sip/internal/offeranswer"
)

var bothSections = []string{"audio 4000 RTP/AVP 0", "audio 4002 RTP/AVP 0"}

// TestServerAsks has the server pause one side, ask for the metadata, and say what nobody expects.
func TestServerAsks(t *testing.T) {
	run(t, Config{}, func(w *world, srs *server) {
		session, _ := w.start()
		invite := srs.records(bothSections...)
		routes := func() (open [2]bool) {
			synctest.Wait()
			for i, l := range session.lines {
				open[i] = l.route.Load() != nil
			}
			return open
		}
		if got := routes(); got != [2]bool{true, true} {
			t.Errorf("got routes %v", got)
		}
		srs.asks("INVITE", 1, invite, sdpType, sdp("audio 4000 RTP/AVP 0|inactive", "audio 4002 RTP/AVP 0", "audio 4004 RTP/AVP 0"))
		ok := srs.want("SIP/2.0 200")
		_, body, _ := strings.Cut(ok, "\r\n\r\n")
		d, err := offeranswer.Parse([]byte(body))
		if err != nil || len(d.Media) != 3 || d.Media[0].Direction != offeranswer.Inactive || d.Media[1].Direction != offeranswer.SendOnly || d.Media[2].Active() || d.Media[1].Label != "2" {
			t.Errorf("got %+v, %v", d, err)
		}
		if got := routes(); got != [2]bool{false, true} {
			t.Errorf("paused: got routes %v", got)
		}
		srs.want("SIP/2.0 200") // again, since there was no ACK
		srs.asks("INVITE", 2, invite, "", "")
		srs.want("SIP/2.0 491")
		srs.asks("ACK", 1, invite, "", "")

		srs.asks("INVITE", 3, invite, "", "") // the offer is ours now
		ok = srs.want("SIP/2.0 200")
		if !strings.Contains(ok, "a=label:2") {
			t.Errorf("no offer in\n%s", ok)
		}
		srs.asks("ACK", 3, invite, sdpType, sdp(bothSections...))
		if got := routes(); got != [2]bool{true, true} {
			t.Errorf("resumed: got routes %v", got)
		}

		srs.asks("UPDATE", 4, invite, requestType, "")
		srs.want("SIP/2.0 200")
		srs.asks("UPDATE", 5, invite, requestType, "SRS restarted")
		srs.want("SIP/2.0 200")
		partsOf(t, srs.records(bothSections...))

		srs.asks("OPTIONS", 6, invite, "", "")
		srs.want("SIP/2.0 200")
		srs.asks("MESSAGE", 7, invite, "text/plain", "hello")
		srs.want("SIP/2.0 405")
		srs.asks("UPDATE", 8, invite, sdpType, "v=1")
		srs.want("SIP/2.0 488")
		other := strings.Replace(invite, header(invite, "From"), "<sip:x@y>;tag=other", 1)
		srs.asks("BYE", 9, other, "", "")
		srs.want("SIP/2.0 481")
		session.Stop()
		srs.reply(srs.want("BYE "), "200 OK", "")
	})
}

// TestNoACK: a server that does not acknowledge our answer has lost the session.
func TestNoACK(t *testing.T) {
	run(t, Config{}, func(w *world, srs *server) {
		session, _ := w.start()
		invite := srs.records(bothSections...)
		srs.asks("INVITE", 1, invite, sdpType, sdp(bothSections...))
		began := time.Now()
		for {
			m, err := srs.next()
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(m, "BYE ") {
				srs.reply(m, "200 OK", "")
				break
			}
		}
		if took := time.Since(began); took < repeatTime || took > repeatTime+time.Second {
			t.Errorf("took %v, want %v", took, repeatTime)
		}
		srs.records(bothSections...)
		session.Stop()
		srs.reply(srs.want("BYE "), "200 OK", "")
	})
}

// TestSessionTimer: we refresh if the server wants us to, and give it up if it does not refresh as it has said.
func TestSessionTimer(t *testing.T) {
	for _, row := range []struct {
		expires string
		after   time.Duration
		want    string
	}{
		{"120;refresher=uac", time.Minute, "INVITE "},
		{"10;refresher=uac", 45 * time.Second, "INVITE "}, // less than RFC 4028 allows
		{"120;refresher=uas", 88 * time.Second, "BYE "},
	} {
		t.Run(row.expires, func(t *testing.T) {
			run(t, Config{}, func(w *world, srs *server) {
				session, _ := w.start()
				invite := srs.want("INVITE ")
				srs.reply(invite, "200 OK", sdp(bothSections...), "Session-Expires: "+row.expires, "Require: timer")
				srs.want("ACK ")
				began := time.Now()
				next := srs.want(row.want)
				if took := time.Since(began); (took - row.after).Abs() > time.Second {
					t.Errorf("took %v, want %v", took, row.after)
				}
				if row.want == "BYE " {
					srs.reply(next, "200 OK", "")
					srs.records(bothSections...)
				} else {
					srs.reply(next, "200 OK", sdp(bothSections...))
					srs.want("ACK ")
					srs.silent(time.Hour) // no timer any more
				}
				session.Stop()
				srs.reply(srs.want("BYE "), "200 OK", "")
			})
		})
	}
}

// TestServerRefreshes: the server's UPDATE puts the end off.
func TestServerRefreshes(t *testing.T) {
	run(t, Config{}, func(w *world, srs *server) {
		session, _ := w.start()
		invite := srs.want("INVITE ")
		srs.reply(invite, "200 OK", sdp(bothSections...), "Session-Expires: 120;refresher=uas", "Require: timer")
		srs.want("ACK ")
		for n := range 3 {
			time.Sleep(80 * time.Second)
			srs.asks("UPDATE", n+1, invite, "", "", "Session-Expires: 120;refresher=uac", "Supported: timer")
			if got := header(srs.want("SIP/2.0 200"), "Session-Expires"); got != "120;refresher=uac" {
				t.Errorf("got Session-Expires %q", got)
			}
		}
		session.Stop()
		srs.reply(srs.want("BYE "), "200 OK", "")
	})
}

// TestGlare: what both ask at once, we ask again later.
func TestGlare(t *testing.T) {
	run(t, Config{}, func(w *world, srs *server) {
		session, tap := w.start()
		invite := srs.records(bothSections...)
		tap.SetFormats(callee, nil)
		ours := srs.want("INVITE ")
		srs.asks("INVITE", 1, invite, sdpType, sdp(bothSections...))
		srs.want("SIP/2.0 491")
		srs.asks("ACK", 1, invite, "", "")
		srs.reply(ours, "491 Request Pending", "")
		srs.want("ACK ")
		srs.records(bothSections...)
		session.Stop()
		srs.reply(srs.want("BYE "), "200 OK", "")
	})
}
