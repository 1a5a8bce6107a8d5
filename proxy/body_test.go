package proxy

import (
	"strings"
	"testing"
)

const mixed = `multipart/mixed;boundary="b 1"`

// inParts is a multipart body of parts that are written with LF.
func inParts(parts ...string) string {
	out := ""
	for _, p := range parts {
		out += "--b 1\r\n" + strings.ReplaceAll(p, "\n", "\r\n") + "\r\n"
	}
	return out + "--b 1--\r\n"
}

// A description among other parts goes through Media, and to a browser alone.
func TestDescriptionInParts(t *testing.T) {
	const (
		sdp      = "Content-Type: application/sdp\nContent-Length: 3\n\nv=0"
		isup     = "Content-Type: application/isup;version=itu-t92+\nContent-Disposition: signal;handling=optional\n\n\x01\x02--\n"
		required = "Content-Type: application/isup\nContent-Disposition: signal; handling=required\n\n\x01"
		early    = "Content-Type: application/sdp\nContent-Disposition: early-session\n\nearly"
	)
	rows := []struct{ name, kind, body, toPhone, toBrowser, browserKind string }{
		{"alone", "Application/SDP ; charset=utf-8", "v=0", "M:v=0", "M:v=0", "Application/SDP ; charset=utf-8"},
		{
			"with ISUP", mixed, inParts(isup, sdp),
			inParts(isup, "Content-Type: application/sdp\n\nM:v=0"), "M:v=0", sdpType,
		},
		{
			"with what must be understood", mixed, inParts(sdp, required),
			inParts("Content-Type: application/sdp\n\nM:v=0", required), inParts("Content-Type: application/sdp\n\nM:v=0", required), mixed,
		},
		{
			"of an early session as well", mixed, inParts(early, sdp),
			inParts(early, "Content-Type: application/sdp\n\nM:v=0"), "M:v=0", sdpType,
		},
		{
			"behind a preamble", mixed, "for people\r\n" + inParts(sdp),
			"for people\r\n" + inParts("Content-Type: application/sdp\n\nM:v=0"), "M:v=0", sdpType,
		},
		{"no description", mixed, inParts(isup), inParts(isup), inParts(isup), mixed},
		{"no parts", mixed, "v=0", "v=0", "v=0", mixed},
		{"no end", mixed, "--b 1\r\nContent-Type: application/sdp\r\n\r\nv=0", "--b 1\r\nContent-Type: application/sdp\r\n\r\nv=0", "--b 1\r\nContent-Type: application/sdp\r\n\r\nv=0", mixed},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			run(t, Config{}, func(w *world) {
				w.media.mark = "M:"
				kind := "Content-Type: " + row.kind
				w.browser.request("INVITE sip:2000@pbx.example.net", row.body, outboundRoute, callerContact, kind, "CSeq: 1 INVITE")
				w.browser.want("SIP/2.0 100")
				req := w.pbx.want("INVITE ")
				equal(t, "body to the phone", req.body(), row.toPhone)
				w.pbx.reply(req, "200 OK", row.body, phoneContact, kind)
				res := w.browser.want("SIP/2.0 200")
				equal(t, "body to the browser", res.body(), row.toBrowser)
				equal(t, "its type", res.one("Content-Type"), row.browserKind)
			})
		})
	}
}

func FuzzParts(f *testing.F) {
	f.Add("b", "--b\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n--b--")
	f.Add("b 1", inParts("Content-Type: text/plain\n\nx", "\nno headers", ""))
	f.Fuzz(func(t *testing.T, boundary, body string) {
		if boundary == "" {
			return
		}
		end := 0
		for at, p := range parts([]byte(body), boundary) {
			if at < end || at+p.size > len(body) || len(p.text) > p.size {
				t.Errorf("a part of %d at %d behind %d, of %d", p.size, at, end, len(body))
			}
			end = at + p.size
		}
	})
}

// A phone that sends no offer, to a page that can't make one: we make it.
func TestEarlyOffer(t *testing.T) {
	const target = "sip:1000@df7jal23ls0d.invalid;rtcweb-breaker=yes;transport=ws"
	run(t, Config{}, func(w *world) {
		w.browser.request("REGISTER sip:pbx.example.net", "", outboundRoute, "To: <sip:1000@pbx.example.net>", "Call-ID: reg",
			"Contact: <"+target+">;expires=600", "Supported: path")
		reg := w.pbx.want("REGISTER ")
		w.pbx.reply(reg, "200 OK", "")
		w.browser.want("SIP/2.0 200")
		w.pbx.request("INVITE "+target, "", "Route: "+reg.one("Path"), "From: <sip:2000@pbx.example.net>;tag=p1",
			"To: <sip:1000@pbx.example.net>", phoneContact, "CSeq: 1 INVITE")
		w.pbx.want("SIP/2.0 100")
		in := w.browser.want("INVITE ")
		contains(t, "offer", in.body(), "offered:v=0\r\no=- 1 1 IN IP4 192.0.2.10\r\n")
		equal(t, "Content-Type", in.one("Content-Type"), sdpType)
		w.browser.reply(in, "200 OK", "page-answer", "Contact: <"+target+">")
		equal(t, "body of 200", w.pbx.want("SIP/2.0 200").body(), "answered:page-answer")
		for range 2 { // the second is a repetition
			w.pbx.request("ACK "+target, "phone-answer", fromPhone(in, "CSeq: 1 ACK")...)
			ack := w.browser.want("ACK ")
			equal(t, "body of ACK", ack.body(), "")
			equal(t, "its type", ack.one("Content-Type"), "")
		}
		equal(t, "media", w.media.took(), "offer caller to webrtc, answer callee, offer caller to webrtc, answer callee")

		// So it is for a re-INVITE, with what the phone has said.
		w.pbx.request("INVITE "+target, "", fromPhone(in, phoneContact, "CSeq: 2 INVITE")...)
		w.pbx.want("SIP/2.0 100")
		again := w.browser.want("INVITE ")
		equal(t, "offer again", again.body(), "offered:phone-answer")
		w.browser.reply(again, "488 Not Acceptable Here", "")
		w.browser.want("ACK ")
		w.pbx.want("SIP/2.0 488")

		// Refused, or with an offer after all: nothing of ours is left behind.
		w.pbx.request("INVITE "+target, "phone-offer", fromPhone(in, phoneContact, "CSeq: 3 INVITE")...)
		w.pbx.want("SIP/2.0 100")
		third := w.browser.want("INVITE ")
		equal(t, "their offer", third.body(), "offered:phone-offer")
		w.browser.reply(third, "200 OK", "third", "Contact: <"+target+">")
		equal(t, "body of 200", w.pbx.want("SIP/2.0 200").body(), "answered:third")
		w.pbx.request("ACK "+target, "stray", fromPhone(in, "CSeq: 3 ACK")...)
		equal(t, "body of ACK", w.browser.want("ACK ").body(), "")
		equal(t, "media", w.media.took(), strings.Repeat("offer caller to webrtc, answer callee, ", 2)+"offer caller to webrtc, offer caller to webrtc, answer callee")
	})
}

// Media that can't offer for the phone (its policy wants keys, say) leaves the
// INVITE as it came.
func TestEarlyOfferRefused(t *testing.T) {
	run(t, Config{}, func(w *world) {
		w.browser.request("REGISTER sip:pbx.example.net", "", outboundRoute, "To: <sip:1000@pbx.example.net>", "Call-ID: reg",
			"Contact: <"+browserTarget+">;expires=600", "Supported: path")
		reg := w.pbx.want("REGISTER ")
		w.pbx.reply(reg, "200 OK", "")
		w.browser.want("SIP/2.0 200")
		w.media.refuse = errGone
		w.pbx.request("INVITE "+browserTarget, "", "Route: "+reg.one("Path"), "From: <sip:2000@pbx.example.net>;tag=p1",
			"To: <sip:1000@pbx.example.net>", phoneContact, "CSeq: 1 INVITE")
		w.pbx.want("SIP/2.0 100")
		in := w.browser.want("INVITE ")
		equal(t, "offer", in.body(), "")
		w.browser.reply(in, "200 OK", "page-offer", callerContact)
		equal(t, "body of 200", w.pbx.want("SIP/2.0 200").body(), "offered:page-offer")
		w.pbx.request("ACK "+browserTarget, "phone-answer", fromPhone(in, "CSeq: 1 ACK")...)
		equal(t, "body of ACK", w.browser.want("ACK ").body(), "answered:phone-answer")
	})
}

// An offer in PRACK, and its answer in the 200 to it (RFC 3262 §5); UPDATEs that
// cross are refused by both (RFC 3311 §5.2), and the call goes on.
func TestOfferInPRACK(t *testing.T) {
	run(t, Config{}, func(w *world) {
		invite, _ := w.callOut("Supported: 100rel")
		w.pbx.reply(invite, "183 Session Progress", "early", phoneContact, "Require: 100rel", "RSeq: 1")
		res := w.browser.want("SIP/2.0 183")
		dialog := append(routesOf(res), "To: <sip:2000@pbx.example.net>;tag=t1")
		w.browser.request("PRACK sip:2000@192.0.2.10:5060", "again", append(dialog, "RAck: 1 1 INVITE", "CSeq: 2 PRACK")...)
		prack := w.pbx.want("PRACK ")
		equal(t, "body of PRACK", prack.body(), "offered:again")
		w.pbx.reply(prack, "200 OK", "agreed")
		equal(t, "body of its 200", w.browser.want("SIP/2.0 200").body(), "answered:agreed")

		w.browser.request("UPDATE sip:2000@192.0.2.10:5060", "new", append(dialog, callerContact, "CSeq: 3 UPDATE")...)
		toPhone := w.pbx.want("UPDATE ")
		w.pbx.request("UPDATE "+browserTarget, "new", inDialog(invite, phoneContact, "CSeq: 1 UPDATE")...)
		toBrowser := w.browser.want("UPDATE ")
		equal(t, "body of UPDATE", toBrowser.body(), "offered:new")
		w.browser.reply(toBrowser, "491 Request Pending", "", "To: <sip:1000@pbx.example.net>;tag=f1")
		w.pbx.want("SIP/2.0 491")
		w.pbx.reply(toPhone, "491 Request Pending", "")
		w.browser.want("SIP/2.0 491")
		w.pbx.reply(invite, "200 OK", "", phoneContact)
		w.browser.want("SIP/2.0 200")
		w.wantCalls(1)
		equal(t, "media", w.media.took(), "offer caller to rtp, answer callee, offer caller to rtp, answer callee, offer caller to rtp, offer callee to webrtc")
	})
}
