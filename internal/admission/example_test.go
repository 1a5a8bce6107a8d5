package admission_test

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"webrtc2sip/internal/admission"
)

// The back end of a web page makes a ticket for its user, and the gateway verifies it when the page connects.
func ExampleTickets() {
	tickets, err := admission.NewTickets(admission.TicketsConfig{Secret: []byte("an example secret of 32 octets or more")})
	if err != nil {
		fmt.Println(err)
		return
	}
	now := time.Unix(1_000_000, 0)
	token, err := tickets.Sign(admission.Ticket{
		User:    "alice@example.com",
		Targets: []string{"1000", "+4930*"},
		Expires: now.Add(time.Hour),
		ID:      "7f3a", // left empty, a random one is made
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(token)

	ticket, err := tickets.Verify(admission.TicketFrom("/?token="+token, nil), now)
	fmt.Println(ticket.User, ticket.Targets, err)
	fmt.Println(ticket.Is("alice", "example.com"), ticket.Allows("1000", "example.com", admission.Number{Dialled: "1000"}))
	// Output:
	// ticket.v1.eyJzdWIiOiJhbGljZUBleGFtcGxlLmNvbSIsImV4cCI6MTAwMzYwMCwianRpIjoiN2YzYSIsInRvIjpbIjEwMDAiLCIrNDkzMCoiXX0.JU3C990Ojk7ZCk-uWeuP292RjealGIGPbFWRdMAyjxc
	// alice@example.com [1000 +4930*] <nil>
	// true true
}

// A gateway in Germany lets web pages call Germany.
func ExampleRules() {
	rules, err := admission.NewRules(admission.RulesConfig{
		Allow: []string{"+49"}, CountryCode: "49", NationalPrefix: "0", InternationalPrefix: "00",
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, user := range []string{"030 123456", "0900123456", "0012025550123", "alice"} {
		number, err := rules.Judge(user, nil, "sip", true)
		switch {
		case errors.Is(err, admission.ErrNotANumber):
			fmt.Println(user, "is a name")
		case err != nil:
			fmt.Println(user, err)
		default:
			fmt.Println(user, "is", number.E164)
		}
	}
	// Output:
	// 030 123456 is +4930123456
	// 0900123456 number denied: premium
	// 0012025550123 number denied: not in number-allow
	// alice is a name
}

// A call counts from its INVITE until both sides are done.
func ExampleLimiter() {
	limiter := admission.NewLimiter(admission.Limits{CallsPerAccount: 1})
	source := netip.MustParseAddr("203.0.113.9")
	if v := limiter.Allow(admission.Invite, source, "alice@example.com"); !v.OK {
		fmt.Println("503, Retry-After", v.RetryAfter)
	}
	release, v := limiter.Begin(source, "alice@example.com")
	fmt.Println(v.OK)
	_, v = limiter.Begin(source, "alice@example.com")
	fmt.Println(v.OK, v.Over)
	release()
	// Output:
	// true
	// false calls-per-account
}
