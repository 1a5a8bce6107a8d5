package config

import "time"

// A Trunk is a SIP server that we have an account at, or that knows us by our address.
type Trunk struct {
	// Name is what logs, metrics and errors call it; unique, of letters, digits and . _ -
	Name string
	// Hop is its server, which is our registrar there, too.
	Hop Hop
	// User is our user name there, both in the address of record and for digest authentication; empty without an account.
	User string
	// Password answers its challenges; empty when there is none, and then challenges pass to the caller.
	Password Secret
	// Realm is the only one whose challenges are answered; empty for any that this trunk names.
	Realm string
	// Register keeps a registration of User up. User is not empty then.
	Register bool
	// Expires is how long a registration is asked for, at least a minute.
	Expires time.Duration
	// Numbers are the beginnings of the numbers that it carries, as those of number-allow; nil for every number.
	Numbers []string
	// Caller is the user of P-Asserted-Identity towards it (RFC 3325), a number as a rule; empty to send none.
	Caller string
	// Inbound is where calls from it go.
	Inbound Inbound
	// Addresses are where it sends from, besides the addresses of Hop.
	Addresses []Peer
	// Line is the line of the file that its element begins on.
	Line int
}

// Inbound is where calls from a trunk go. The zero value refuses them.
type Inbound struct {
	// Any leaves it to the Request-URI's user, in the domain of the PBX or of an outbound proxy.
	Any bool
	// User and Domain are the address of record that gets every call. Both are empty or set.
	User, Domain string
}

// String is the value as the file spells it.
func (i Inbound) String() string {
	switch {
	case i.Any:
		return "*"
	case i.User != "":
		return "sip:" + i.User + "@" + i.Domain
	default:
		return ""
	}
}
