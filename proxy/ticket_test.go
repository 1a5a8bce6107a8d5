package proxy

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emiago/sipgo/sip"
	"github.com/gorilla/websocket"

	"webrtc2sip/internal/admission"
	"webrtc2sip/internal/sipstack"
)

// Tickets: whom the holder may call, and as whom.
func TestTicketTargets(t *testing.T) {
	for _, row := range []struct {
		name    string
		targets []string
		method  string
		uri     string
		headers []string
		ok      bool
	}{
		{"anybody", nil, "MESSAGE", "sip:2000@192.0.2.10", nil, true},
		{"nobody", []string{}, "MESSAGE", "sip:2000@192.0.2.10", nil, false},
		{"named", []string{"2000"}, "MESSAGE", "sip:2000@192.0.2.10", nil, true},
		{"named, call", []string{"2000"}, "INVITE", "sip:2000@192.0.2.10", []string{callerContact}, true},
		{"not named", []string{"2000"}, "MESSAGE", "sip:2001@192.0.2.10", nil, false},
		{"not named, call", []string{"2000"}, "INVITE", "sip:2001@192.0.2.10", []string{callerContact}, false},
		{"beginning alike", []string{"2000"}, "MESSAGE", "sip:20001@192.0.2.10", nil, false},
		{"parameters in the user", []string{"2000"}, "MESSAGE", "sip:2000;x=2001@192.0.2.10", nil, false},
		{"escaped", []string{"2000"}, "MESSAGE", "sip:%32000@192.0.2.10", nil, true},
		{"other host", []string{"2000@192.0.2.10"}, "MESSAGE", "sip:2000@192.0.2.11", nil, false},
		{"as somebody else", nil, "MESSAGE", "sip:2000@192.0.2.10", []string{"From: <sip:1001@pbx.example.net>;tag=x"}, false},
		{"at another domain", nil, "MESSAGE", "sip:2000@192.0.2.10", []string{"From: <sip:1000@evil.example>;tag=x"}, false},
		{"registers as somebody else", nil, "REGISTER", "sip:192.0.2.10", []string{"To: <sip:1001@pbx.example.net>", jsSIPContact}, false},
		{"registers", []string{"2000"}, "REGISTER", "sip:192.0.2.10", []string{"To: <sip:1000@pbx.example.net>", jsSIPContact}, true},
		{"refers to one not named", []string{"2000"}, "REFER", "sip:2000@192.0.2.10", []string{"Refer-To: <sip:2001@192.0.2.10>", callerContact}, false},
		{"refers to one named", []string{"2000", "2001"}, "REFER", "sip:2000@192.0.2.10", []string{"Refer-To: <sip:2001@192.0.2.10>", callerContact}, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			run(t, Config{Admission: Admission{Auth: AuthTicket, Tickets: tickets(t, false)}}, func(w *world) {
				w.proxy.tickets[w.browser.flow.ID()] = admission.Ticket{User: "1000@pbx.example.net", Targets: row.targets, Expires: time.Now().Add(time.Hour)}
				w.browser.request(row.method+" "+row.uri, "", row.headers...)
				if row.ok {
					w.pbx.want(row.method + " ")
					return
				}
				w.browser.want("SIP/2.0 403")
				w.pbx.nothing(time.Second)
			})
		})
	}
}

// A transfer out of a call is bound by the ticket, and so is the flow's ticket
// forgotten with it and refused when it is over.
func TestTicketInACall(t *testing.T) {
	run(t, Config{Admission: Admission{Auth: AuthTicket, Tickets: tickets(t, false)}}, func(w *world) {
		w.proxy.tickets[w.browser.flow.ID()] = admission.Ticket{User: "1000", Targets: []string{"2000"}, Expires: time.Now().Add(time.Hour)}
		ok, _ := w.established()
		to := append(routesOf(ok), "To: "+ok.one("To"), callerContact)
		w.browser.request("REFER sip:2000@192.0.2.10:5060", "", append(to, "Refer-To: <sip:2001@192.0.2.10>", "CSeq: 2 REFER")...)
		w.browser.want("SIP/2.0 403 Not On Your Ticket")
		time.Sleep(2 * time.Hour) // of the bubble's time
		w.browser.request("MESSAGE sip:2000@192.0.2.10", "")
		w.browser.want("SIP/2.0 403 Ticket Not Valid")
		w.browser.request("BYE sip:2000@192.0.2.10:5060", "", append(to, "CSeq: 3 BYE")...)
		w.pbx.want("BYE ")
		w.browser.pipe.Close()
		<-w.browser.flow.Done()
		synctest.Wait()
		if len(w.proxy.tickets) != 0 {
			t.Error("the ticket is kept")
		}
	})
}

// Inside a subscription the ticket still says whom a transfer may lead to, and
// who gets messages; what goes on with the subscription goes where its Contact
// says.
func TestTicketInASubscription(t *testing.T) {
	run(t, Config{Admission: Admission{Auth: AuthTicket, Tickets: tickets(t, false)}}, func(w *world) {
		w.proxy.tickets[w.browser.flow.ID()] = admission.Ticket{User: "1000", Targets: []string{"2000"}, Expires: time.Now().Add(time.Hour)}
		w.browser.request("SUBSCRIBE sip:2000@192.0.2.10", "", callerContact, "Event: presence", "Call-ID: sub")
		w.pbx.reply(w.pbx.want("SUBSCRIBE "), "200 OK", "", "Contact: <sip:desk@192.0.2.10:5060>")
		inside := append(routesOf(w.browser.want("SIP/2.0 200"))[1:], "To: <sip:2000@pbx.example.net>;tag=t1", "Call-ID: sub", callerContact)
		for _, start := range []string{"REFER sip:2000@192.0.2.10", "REFER sip:desk@192.0.2.10:5060"} {
			w.browser.request(start, "", append(inside, "Refer-To: <sip:6666@192.0.2.10>")...)
			w.browser.want("SIP/2.0 403 Not On Your Ticket")
		}
		for _, start := range []string{"MESSAGE sip:6666@192.0.2.10", "REFER sip:6666@192.0.2.10", "SUBSCRIBE sip:6666@192.0.2.11", "SUBSCRIBE sip:6666@192.0.2.10"} {
			w.browser.request(start, "", inside...)
			w.browser.want("SIP/2.0 403 Not On Your Ticket")
		}
		w.pbx.nothing(time.Second)
		w.browser.request("SUBSCRIBE sip:desk@192.0.2.10:5060", "", append(inside, "Event: presence")...)
		w.pbx.want("SUBSCRIBE sip:desk@192.0.2.10:5060 ")
		w.browser.gone()
		synctest.Wait()
		if len(w.proxy.targets) != 0 {
			t.Error("the target is kept")
		}
	})
}

// A ticket for single use lasts as long as one for many, for the socket that it
// opened: clocks may be off. When it is over then that is no offence.
func TestTicketWithinSkew(t *testing.T) {
	for _, single := range []bool{false, true} {
		t.Run(fmt.Sprint(single), func(t *testing.T) {
			x := tickets(t, single)
			text, err := x.Sign(admission.Ticket{User: "1000", Expires: time.Now().Add(-time.Minute)})
			if err != nil {
				t.Fatal(err)
			}
			g := newTicketGate(t, x)
			for range 3 {
				equal(t, "status", g.options(t, "/?token="+text, nil), "200")
			}
			g.hangUp()
		})
	}
	run(t, Config{Admission: Admission{Auth: AuthTicket, Tickets: tickets(t, true)}}, func(w *world) {
		ends := time.Now().Add(time.Hour)
		w.proxy.tickets[w.browser.flow.ID()] = admission.Ticket{User: "1000", Expires: ends}
		if _, err := w.proxy.ticketOf(w.browser.flow, ends.Add(4*time.Minute)); err != nil {
			t.Errorf("within the skew: %v", err)
		}
		if _, err := w.proxy.ticketOf(w.browser.flow, ends.Add(6*time.Minute)); !errors.Is(err, admission.ErrTicketExpired) {
			t.Errorf("after it: got %v", err)
		}
	})
}

func tickets(t *testing.T, single bool) *admission.Tickets {
	t.Helper()
	x, err := admission.NewTickets(admission.TicketsConfig{Secret: []byte(strings.Repeat("k", 32)), SingleUse: single})
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// Tickets as they come with real WebSockets: by URL and by subprotocol, forged,
// spent, out of date; one for single use is good for one socket with all its
// requests.
func TestTicketsOfWebSockets(t *testing.T) {
	keys, once := tickets(t, false), tickets(t, true)
	sign := func(x *admission.Tickets, ahead time.Duration) string {
		text, err := x.Sign(admission.Ticket{User: "1000", Expires: time.Now().Add(ahead)})
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	good, old := sign(keys, time.Hour), sign(keys, -time.Hour)
	last := "A"
	if strings.HasSuffix(good, "A") {
		last = "Q"
	}
	forged := good[:len(good)-1] + last
	used := sign(once, time.Hour)
	for _, row := range []struct {
		name   string
		keys   *admission.Tickets
		url    string
		offers []string
		status string
	}{
		{"none", keys, "/", nil, "403"},
		{"in the URL", keys, "/?token=" + good, nil, "200"},
		{"as access_token", keys, "/ws?access_token=" + good, nil, "200"},
		{"as subprotocol", keys, "/", []string{"token." + good}, "200"},
		{"forged", keys, "/?token=" + forged, nil, "403"},
		{"cut", keys, "/?token=" + good[:len(good)-5], nil, "403"},
		{"out of date", keys, "/?token=" + old, nil, "403"},
		{"too long", keys, "/?token=" + strings.Repeat("a", 5000), nil, "403"},
		{"none algorithm", keys, "/?token=eyJhbGciOiJub25lIn0.eyJzdWIiOiIxMDAwIiwiZXhwIjo5OTk5OTk5OTk5fQ.", nil, "403"},
		{"for single use", once, "/?token=" + used, nil, "200"},
		{"for single use, again", once, "/?token=" + used, nil, "403"},
	} {
		t.Run(row.name, func(t *testing.T) {
			g := newTicketGate(t, row.keys)
			for range 3 { // every request of the socket
				if got := g.options(t, row.url, row.offers); got != row.status {
					t.Fatalf("got %s, want %s", got, row.status)
				}
			}
			g.hangUp()
		})
	}
}

// ticketGate is a proxy behind a real WebSocket listener, with a PBX that says
// yes.
type ticketGate struct {
	at   netip.AddrPort
	conn *websocket.Conn
	n    int
}

func newTicketGate(t *testing.T, keys *admission.Tickets) *ticketGate {
	l := newLabFor(t, Admission{Auth: AuthTicket, Tickets: keys})
	return &ticketGate{at: l.listeners[sipstack.WS].Addr()}
}

func (g *ticketGate) hangUp() {
	if g.conn != nil {
		_ = g.conn.Close()
	}
}

// options asks the PBX something, on one socket, and gives the status.
func (g *ticketGate) options(t *testing.T, url string, offers []string) string {
	t.Helper()
	if g.conn == nil {
		d := websocket.Dialer{Subprotocols: append([]string{"sip"}, offers...)}
		conn, _, err := d.Dial("ws://"+g.at.String()+url, http.Header{})
		if err != nil {
			if strings.Contains(url, "aaaa") {
				return "403" // the listener has limits of its own
			}
			t.Fatal(err)
		}
		g.conn = conn
	}
	g.n++
	text := lines("", "OPTIONS sip:2000@pbx.example.net SIP/2.0", fmt.Sprintf("Via: SIP/2.0/WS x.invalid;branch=z9hG4bK%d", g.n), "Max-Forwards: 70",
		"From: <sip:1000@pbx.example.net>;tag=1", "To: <sip:2000@pbx.example.net>", fmt.Sprintf("Call-ID: t%d", g.n), "CSeq: 1 OPTIONS")
	if err := g.conn.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
		t.Fatal(err)
	}
	_, answer, err := g.conn.ReadMessage()
	if err != nil {
		t.Fatal(err)
	}
	_, status, _ := strings.Cut(string(answer), " ")
	return status[:3]
}

// A page that was left open comes back with a ticket that has run out: refused,
// but no offence. One that nobody has signed is.
func TestTicketsAndOffences(t *testing.T) {
	p := new(Proxy)
	for err, want := range map[error]bool{admission.ErrTicketExpired: false, admission.ErrTicketInvalid: true, admission.ErrTicketUsed: true} {
		run(t, Config{}, func(w *world) {
			req := sip.NewRequest(sip.MESSAGE, sip.Uri{Host: "x"})
			req.AppendHeader(&sip.ToHeader{})
			no := &refusal{code: 403, why: err}
			if got := p.isOffence(&routed{req: req, from: w.browser.flow}, no); got != want {
				t.Errorf("%v: got %v, want %v", err, got, want)
			}
		})
	}
}
