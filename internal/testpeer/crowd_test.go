//go:build integration

package testpeer

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
)

// A crowd is many short calls through a gateway: callers at one UDP socket and a callee at another, which answers at
// once. A caller that hears 200 sends ACK and BYE; one that hears 503 sends ACK and gives up. Requests are repeated as
// RFC 3261 says (timers A and E). It is a program's worth cheaper than SIPp, so that the gateway is what is measured.
type crowd struct {
	t               testing.TB
	gateway         netip.AddrPort
	callers, callee *net.UDPConn
	wg              sync.WaitGroup

	mu    sync.Mutex
	calls map[string]*crowdCall // by Call-ID: those that are under way
	begun int                   // in all
	tally crowdTally
}

// crowdTally counts what happened.
type crowdTally struct {
	offered, good, refused int
	hasty                  int           // refusals without Retry-After
	other                  int           // other answers, silence
	slowest                time.Duration // from INVITE to 503
	gap                    time.Duration // the longest that this process could not send for
}

// crowdCall is one call under way.
type crowdCall struct {
	from    time.Time
	request string // that waits for an answer; "": none
	heard   bool   // something came for the INVITE, so that it is not repeated
	bye     bool   // the request is the BYE
	again   time.Time
	pause   time.Duration
}

// Timers A and E start with crowdT1; a request is given up after crowdPatience.
const (
	crowdT1       = 500 * time.Millisecond
	crowdPatience = 20 * time.Second
)

// newCrowd opens both ends; the callee's port is chosen by the caller of this, who has told it to the gateway.
func newCrowd(t testing.TB, gateway string, calleePort int) *crowd {
	t.Helper()
	open := func(port int) *net.UDPConn {
		c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(loopback), Port: port})
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetReadBuffer(4 << 20)
		return c
	}
	c := &crowd{t: t, gateway: netip.MustParseAddrPort(gateway), calls: map[string]*crowdCall{}}
	c.callee, c.callers = open(calleePort), open(0)
	c.wg.Go(func() { c.readLoop(c.callee, c.answer) }) // both end when their socket closes
	c.wg.Go(func() { c.readLoop(c.callers, c.response) })
	t.Cleanup(func() {
		_, _ = c.callee.Close(), c.callers.Close()
		c.wg.Wait()
	})
	return c
}

func (c *crowd) readLoop(conn *net.UDPConn, take func(string)) {
	buf := make([]byte, 64<<10)
	for {
		n, _, err := conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		take(string(buf[:n]))
	}
}

func (c *crowd) send(conn *net.UDPConn, text string) {
	_, _ = conn.WriteToUDPAddrPort([]byte(text), c.gateway)
}

// offer begins calls at a rate for a time, and tells what happened in it after the first second, in which the load
// settles.
func (c *crowd) offer(perSecond int, d time.Duration) crowdTally {
	c.t.Helper()
	begin, last, sent := time.Now(), time.Now(), 0
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	settled := false
	for now := begin; now.Sub(begin) < d; now = <-tick.C {
		c.mu.Lock()
		if !settled && now.Sub(begin) >= time.Second {
			settled, c.tally = true, crowdTally{}
		}
		c.tally.gap = max(c.tally.gap, time.Since(last))
		c.mu.Unlock()
		last = time.Now()
		for ; sent < int(float64(perSecond)*now.Sub(begin).Seconds()); sent++ {
			c.begin()
		}
		c.repeat(now)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tally
}

// settle waits until no call is under way, and tells how many were given up.
func (c *crowd) settle(within time.Duration) (lost int) {
	c.t.Helper()
	Eventually(c.t, within, "end of the calls under way", func() bool {
		c.repeat(time.Now())
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.calls) == 0
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tally.other
}

// begin sends an INVITE.
func (c *crowd) begin() {
	c.mu.Lock()
	c.begun++
	c.tally.offered++
	id := fmt.Sprintf("crowd-%d", c.begun)
	text := c.request("INVITE sip:callee@"+c.callee.LocalAddr().String(), id, "i", "", "1 INVITE", nil)
	now := time.Now()
	c.calls[id] = &crowdCall{from: now, request: text, again: now.Add(crowdT1), pause: crowdT1}
	c.mu.Unlock()
	c.send(c.callers, text)
}

// request writes one of the caller's; mark makes its branch.
func (c *crowd) request(start, id, mark, toTag, cseq string, routes []string) string {
	lines := []string{
		start + " SIP/2.0", "Via: SIP/2.0/UDP " + c.callers.LocalAddr().String() + ";rport;branch=z9hG4bK" + id + mark,
		"From: <sip:caller@" + GatewayRealm + ">;tag=" + id, "To: <sip:callee@" + GatewayRealm + ">" + toTag, "Call-ID: " + id, "CSeq: " + cseq,
		"Max-Forwards: 70", "Contact: <sip:caller@" + c.callers.LocalAddr().String() + ">", "Content-Length: 0",
	}
	for i := len(routes) - 1; i >= 0; i-- {
		lines = append(lines, "Route: "+routes[i])
	}
	return strings.Join(lines, "\r\n") + "\r\n\r\n"
}

// repeat sends again what has had no answer, and gives up what never gets one.
func (c *crowd) repeat(now time.Time) {
	var texts []string
	c.mu.Lock()
	for id, k := range c.calls {
		switch {
		case now.Sub(k.from) > crowdPatience:
			delete(c.calls, id)
			c.tally.other++
		case k.request != "" && !k.heard && now.After(k.again):
			k.pause *= 2
			k.again = now.Add(k.pause)
			texts = append(texts, k.request)
		}
	}
	c.mu.Unlock()
	for _, t := range texts {
		c.send(c.callers, t)
	}
}

// crowdHeaders gives the values of a header, which the gateway writes by its full name.
func crowdHeaders(text, name string) (out []string) {
	for line := range strings.SplitSeq(text, "\r\n") {
		if v, ok := strings.CutPrefix(line, name+": "); ok {
			out = append(out, v)
		}
	}
	return out
}

func crowdHeader(text, name string) string {
	for _, v := range crowdHeaders(text, name) {
		return v
	}
	return ""
}

// answer is the callee's part.
func (c *crowd) answer(req string) {
	method, _, _ := strings.Cut(req, " ")
	if method != "INVITE" && method != "BYE" {
		return
	}
	lines := []string{"SIP/2.0 200 OK"}
	for _, name := range []string{"Via", "Record-Route", "From", "Call-ID", "CSeq"} {
		for _, v := range crowdHeaders(req, name) {
			lines = append(lines, name+": "+v)
		}
	}
	to := crowdHeader(req, "To")
	if !strings.Contains(to, ";tag=") {
		to += ";tag=callee"
	}
	lines = append(lines, "To: "+to, "Contact: <sip:callee@"+c.callee.LocalAddr().String()+">", "Content-Length: 0")
	c.send(c.callee, strings.Join(lines, "\r\n")+"\r\n\r\n")
}

// response is the caller's part.
func (c *crowd) response(res string) {
	id, cseq := crowdHeader(res, "Call-ID"), crowdHeader(res, "CSeq")
	_, status, _ := strings.Cut(res[:min(len(res), 11)], " ")
	_, toTag, _ := strings.Cut(crowdHeader(res, "To"), ">")
	var texts []string
	c.mu.Lock()
	k := c.calls[id]
	switch {
	case k == nil:
	case cseq == "2 BYE":
		delete(c.calls, id)
		if status == "200" {
			c.tally.good++
		} else {
			c.tally.other++
		}
	case status == "100":
		k.heard = true
	case status == "200":
		routes := crowdHeaders(res, "Record-Route")
		target := strings.Trim(crowdHeader(res, "Contact"), "<>")
		texts = append(texts, c.request("ACK "+target, id, "a", toTag, "1 ACK", routes))
		if !k.bye {
			bye := c.request("BYE "+target, id, "b", toTag, "2 BYE", routes)
			k.bye, k.heard, k.request, k.pause = true, false, bye, crowdT1
			k.again = time.Now().Add(crowdT1)
			texts = append(texts, bye)
		}
	default:
		texts = append(texts, c.request("ACK sip:callee@"+c.callee.LocalAddr().String(), id, "i", toTag, "1 ACK", nil))
		delete(c.calls, id)
		c.refusal(status, res, time.Since(k.from))
	}
	c.mu.Unlock()
	for _, t := range texts {
		c.send(c.callers, t)
	}
}

// refusal counts one; c.mu is held.
func (c *crowd) refusal(status, res string, after time.Duration) {
	if status != "503" {
		c.tally.other++
		return
	}
	c.tally.refused++
	c.tally.slowest = max(c.tally.slowest, after)
	if crowdHeader(res, "Retry-After") == "" {
		c.tally.hasty++
	}
}
