package siprec

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"webrtc2sip/internal/offeranswer"
)

// run runs a test in fake time with one recording server.
func run(t *testing.T, cfg Config, test func(w *world, srs *server)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, cfg)
		defer w.stop()
		test(w, w.server("192.0.2.1:5060"))
	})
}

// TestSession has a call recorded, put on hold, resumed and ended.
func TestSession(t *testing.T) {
	run(t, Config{}, func(w *world, srs *server) {
		session, tap := w.start()
		invite := srs.records("audio 4000 RTP/AVP 0", "audio 4002 RTP/AVP 0")
		for name, want := range map[string]string{"Require": "siprec", "Supported": "timer", "To": "<sip:recorder@srs.example>"} {
			if got := header(invite, name); got != want {
				t.Errorf("%s: got %q, want %q", name, got, want)
			}
		}
		if c := header(invite, "Contact"); !strings.HasSuffix(c, ">;+sip.src") || !strings.Contains(c, "transport=tcp") {
			t.Errorf("got Contact %s", c)
		}
		if !strings.Contains(invite, "\r\nContent-Disposition: recording-session\r\n") {
			t.Error("the metadata has no disposition")
		}
		d, metadata := partsOf(t, invite)
		for i, m := range d.Media {
			if m.Kind != "audio" || m.Label != fmt.Sprint(i+1) || m.Direction != offeranswer.SendOnly || m.Proto != "RTP/AVP" || m.Port%2 != 0 || len(m.Formats) != 1 || !m.Formats[0].SameCodec(pcmu) {
				t.Errorf("m-line %d: got %+v", i, m)
			}
		}
		if len(d.Media) != 2 || d.Media[0].Port == d.Media[1].Port || !strings.Contains(metadata, `<nameID aor="sip:alice@example.org">`) || !strings.Contains(metadata, session.Name()) {
			t.Errorf("got %+v and\n%s", d, metadata)
		}

		tap.SetFormats(callee, nil)
		hold := srs.records("audio 4000 RTP/AVP 0", "audio 4002 RTP/AVP 0|inactive")
		d, metadata = partsOf(t, hold)
		if d.Media[0].Direction != offeranswer.SendOnly || d.Media[1].Direction != offeranswer.Inactive || strings.Count(metadata, "<send>") != 1 || strings.Count(metadata, "<recv>") != 1 {
			t.Errorf("on hold: got %+v and\n%s", d.Media, metadata)
		}
		if header(hold, "Call-ID") != header(invite, "Call-ID") || !strings.Contains(header(hold, "To"), ";tag=srs") || !strings.HasPrefix(hold, "INVITE sip:srs@192.0.2.1:5060") {
			t.Errorf("not inside the dialog:\n%s", hold)
		}
		tap.SetFormats(callee, []offeranswer.Format{pcmu})
		d, _ = partsOf(t, srs.records("audio 4000 RTP/AVP 0", "audio 4002 RTP/AVP 0"))
		if d.Media[1].Direction != offeranswer.SendOnly || d.Origin.Version != 3 {
			t.Errorf("resumed: got %+v", d)
		}
		tap.SetFormats(callee, []offeranswer.Format{pcmu}) // another agreement, and nothing new
		srs.silent(time.Minute)

		if got := w.client.Stats(); got.Active != 1 || got.Started != 1 || got.Failures != 0 {
			t.Errorf("got %+v", got)
		}
		session.Stop()
		srs.reply(srs.want("BYE sip:srs@192.0.2.1:5060"), "200 OK", "")
		synctest.Wait()
		if got := w.client.Stats(); got.Active != 0 || got.Failures != 0 {
			t.Errorf("got %+v after the end", got)
		}
	})
}

// TestOfferedFormats: what a side sends is what the other side has, too, with the numbers of who sends.
func TestOfferedFormats(t *testing.T) {
	run(t, Config{}, func(w *world, srs *server) {
		s, err := w.client.Start(Call{ID: "c1"})
		if err != nil {
			t.Fatal(err)
		}
		event := offeranswer.Format{PayloadType: 126, Codec: "telephone-event", ClockRate: 8000, Channels: 1}
		g722 := offeranswer.Format{PayloadType: 9, Codec: "G722", ClockRate: 8000, Channels: 1}
		rtx := offeranswer.Format{PayloadType: 97, Codec: "rtx", ClockRate: 90000, Channels: 1, FMTP: "apt=96"}
		other := opus
		other.PayloadType = 96
		sound, pictures := s.Tap(0, false), s.Tap(1, true)
		sound.SetFormats(caller, []offeranswer.Format{opus, g722, pcmu, event})
		sound.SetFormats(callee, []offeranswer.Format{other, pcmu, event})
		pictures.SetFormats(caller, []offeranswer.Format{vp8, rtx})
		d, _ := partsOf(t, srs.records("audio 4000 RTP/AVP 0", "audio 4002 RTP/AVP 0", "video 0 RTP/AVP 96"))
		var got []string
		for _, m := range d.Media {
			text := m.Kind + m.Label
			for _, f := range m.Formats {
				text += fmt.Sprintf(" %d=%s", f.PayloadType, f.Codec)
			}
			got = append(got, text)
		}
		want := "audio1 111=opus 0=PCMU 126=telephone-event, audio2 96=opus 0=PCMU 126=telephone-event, video3 96=VP8"
		if text := strings.Join(got, ", "); text != want {
			t.Errorf("got %s, want %s", text, want)
		}
		s.Stop()
		srs.reply(srs.want("BYE "), "200 OK", "")
	})
}

// TestNextTarget: one that is silent, or has no room, is put last; the next one records.
func TestNextTarget(t *testing.T) {
	run(t, Config{}, func(w *world, silent *server) {
		full, good := w.server("192.0.2.2:5060"), w.server("192.0.2.3:5060")
		began := time.Now()
		session, _ := w.start()
		silent.want("INVITE ")
		full.reply(full.want("INVITE "), "503 Service Unavailable", "", "Retry-After: 60")
		full.want("ACK ")
		good.records("audio 4000 RTP/AVP 0", "audio 4002 RTP/AVP 0")
		if took := time.Since(began); took < tryTime || took > tryTime+time.Second {
			t.Errorf("took %v", took)
		}
		synctest.Wait()
		if got := strings.Join(w.names.told, ", "); got != "failed 192.0.2.1:5060 0s, failed 192.0.2.2:5060 1m0s, alive 192.0.2.3:5060" {
			t.Errorf("the resolver was told %s", got)
		}
		session.Stop()
		good.reply(good.want("BYE "), "200 OK", "")
	})
}

// TestNoServer: whatever the server does, there is one line and one count, and the session waits for the end of the call.
func TestNoServer(t *testing.T) {
	for _, row := range []struct {
		name string
		does func(srs *server)
		says string
	}{
		{"silent", func(srs *server) { srs.want("INVITE ") }, "timed out"},
		{"refuses", func(srs *server) {
			srs.reply(srs.want("INVITE "), "403 Forbidden", "")
			srs.want("ACK ")
		}, "403"},
		{"knows no siprec", func(srs *server) {
			srs.reply(srs.want("INVITE "), "420 Bad Extension", "")
			srs.want("ACK ")
		}, "420"},
		{"takes no stream", func(srs *server) {
			srs.records("audio 0 RTP/AVP 0", "audio 0 RTP/AVP 0")
			srs.reply(srs.want("BYE "), "200 OK", "")
		}, "none of the streams"},
		{"answers without a description", func(srs *server) {
			srs.reply(srs.want("INVITE "), "200 OK", "")
			srs.want("ACK ")
			srs.reply(srs.want("BYE "), "200 OK", "")
		}, "without a description"},
		{"hangs up", func(srs *server) {
			invite := srs.records("audio 4000 RTP/AVP 0", "audio 4002 RTP/AVP 0")
			srs.asks("BYE", 1, invite, "", "")
			srs.want("SIP/2.0 200")
		}, "hung up"},
	} {
		t.Run(row.name, func(t *testing.T) {
			run(t, Config{}, func(w *world, srs *server) {
				session, tap := w.start()
				row.does(srs)
				time.Sleep(time.Minute)
				tap.SetFormats(callee, nil)
				tap.Packet(caller, 0, make([]byte, 172))
				time.Sleep(time.Minute)
				if got := w.client.Stats(); got.Failures != 1 || got.Active != 1 || got.Packets != 0 {
					t.Errorf("got %+v", got)
				}
				log := w.lines.String()
				if strings.Count(log, "level=WARN") != 1 || !strings.Contains(log, row.says) {
					t.Errorf("got log\n%s\nwant one warning about %s", log, row.says)
				}
				session.Stop()
				synctest.Wait()
			})
		})
	}
}

// TestLostSession: a server that has forgotten the session is asked to begin anew.
func TestLostSession(t *testing.T) {
	run(t, Config{}, func(w *world, srs *server) {
		session, tap := w.start()
		first := srs.records("audio 4000 RTP/AVP 0", "audio 4002 RTP/AVP 0")
		tap.SetFormats(callee, nil)
		srs.reply(srs.want("INVITE "), "481 Call/Transaction Does Not Exist", "")
		srs.want("ACK ")
		srs.reply(srs.want("BYE "), "481 Call/Transaction Does Not Exist", "")
		again := srs.records("audio 4000 RTP/AVP 0", "audio 4002 RTP/AVP 0|inactive")
		if header(first, "Call-ID") == header(again, "Call-ID") {
			t.Error("the dialog is the same")
		}
		session.Stop()
		srs.reply(srs.want("BYE "), "200 OK", "")
	})
}

// TestLateAnswer: a server that answers when the call is over is told so.
func TestLateAnswer(t *testing.T) {
	run(t, Config{}, func(w *world, srs *server) {
		session, _ := w.start()
		invite := srs.want("INVITE ")
		srs.reply(invite, "180 Ringing", "")
		synctest.Wait()
		session.Stop()
		cancel := srs.want("CANCEL ")
		srs.reply(invite, "200 OK", sdp("audio 4000 RTP/AVP 0", "audio 4002 RTP/AVP 0"))
		srs.reply(cancel, "200 OK", "")
		srs.want("ACK ")
		srs.reply(srs.want("BYE "), "200 OK", "")
	})
}

// TestRepeatedAnswer: each copy of a 2xx has its ACK.
func TestRepeatedAnswer(t *testing.T) {
	run(t, Config{}, func(w *world, srs *server) {
		session, _ := w.start()
		invite := srs.records("audio 4000 RTP/AVP 0", "audio 4002 RTP/AVP 0")
		srs.reply(invite, "200 OK", sdp("audio 4000 RTP/AVP 0", "audio 4002 RTP/AVP 0"))
		srs.want("ACK ")
		session.Stop()
		srs.reply(srs.want("BYE "), "200 OK", "")
	})
}

// TestChallenge: the credentials answer it, in the ACK and the BYE as well.
func TestChallenge(t *testing.T) {
	run(t, Config{User: "src", Password: "secret-srs"}, func(w *world, srs *server) {
		session, _ := w.start()
		bare := srs.want("INVITE ")
		srs.reply(bare, "401 Unauthorized", "", `WWW-Authenticate: Digest realm="srs", nonce="n1", qop="auth", algorithm=SHA-256`)
		srs.want("ACK ")
		invite := srs.want("INVITE ")
		if a := header(invite, "Authorization"); !strings.Contains(a, `username="src"`) || !strings.Contains(a, `nonce="n1"`) {
			t.Errorf("got Authorization %q", a)
		}
		srs.reply(invite, "200 OK", sdp("audio 4000 RTP/AVP 0", "audio 4002 RTP/AVP 0"))
		if header(srs.want("ACK "), "Authorization") == "" {
			t.Error("the ACK has no credentials")
		}
		session.Stop()
		bye := srs.want("BYE ")
		if header(bye, "Authorization") == "" {
			t.Error("the BYE has no credentials")
		}
		srs.reply(bye, "200 OK", "")
		if strings.Contains(w.lines.String(), "secret-srs") {
			t.Error("the password is in the log")
		}
	})
}

// TestEndBeforeTheBeginning: a call that ends before anything was agreed on is nobody's business.
func TestEndBeforeTheBeginning(t *testing.T) {
	run(t, Config{}, func(w *world, srs *server) {
		s, err := w.client.Start(Call{ID: "c1"})
		if err != nil {
			t.Fatal(err)
		}
		s.Tap(0, false).SetFormats(caller, nil)
		srs.silent(time.Minute)
		s.Stop()
		srs.silent(time.Minute)
	})
}

// TestClosed: no session begins after the end.
func TestClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		w.stop()
		if _, err := w.client.Start(Call{}); err != ErrClosed {
			t.Errorf("got %v, want ErrClosed", err)
		}
	})
}
