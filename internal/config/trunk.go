package config

import (
	"encoding/xml"
	"errors"
	"fmt"
	"strings"
	"time"
)

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
	// Any leaves the user to the Request-URI. User is empty then.
	Any bool
	// User and Domain are the address of record that gets every call. With Any, Domain is that of the users who
	// are called: of the PBX, or else of the first outbound proxy for a domain.
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

// trunkElement is the one element that is more than its text: it holds elements of its own.
const trunkElement = "trunk"

// inTrunk holds the settings inside of a trunk, by name in lower case. They set the trunk that is open.
var inTrunk = map[string]setting{
	"uri":      {allowed: "sip:host[:port][;transport=udp, tcp or tls] or sips:host[:port]", set: (*parser).trunkURI},
	"user":     {allowed: "a user name of letters, digits and . _ + - ~ ! $ & ' ( ) * = , ; ?", set: (*parser).trunkUser},
	"password": {allowed: "any text", set: (*parser).trunkPassword, secret: true},
	"realm":    {allowed: "the realm of the server's challenges, visible characters and blanks", set: (*parser).trunkRealm},
	"register": {allowed: yesOrNo, set: (*parser).trunkRegister},
	"expires":  {allowed: "seconds, 60 to 604800", set: (*parser).trunkExpires},
	"numbers":  {allowed: prefixList, set: (*parser).trunkNumbers, repeatable: true},
	"caller":   {allowed: "a number such as +4930123, or a user name", set: (*parser).trunkCaller},
	"inbound":  {allowed: "sip:user@domain, or * to go by the Request-URI", set: (*parser).trunkInbound},
	"address":  {allowed: "an IP address or a prefix such as 192.0.2.0/24", set: (*parser).trunkAddress, repeatable: true},
}

// openTrunk begins a trunk at its start tag.
func (p *parser) openTrunk(e *element, attributes []xml.Attr) error {
	if p.trunk != nil {
		return fmt.Errorf("stands inside of the trunk on line %d", p.trunk.Line)
	}
	t := &Trunk{Expires: DefaultTrunkExpires, Line: e.line}
	for _, a := range attributes {
		if strings.EqualFold(a.Name.Local, "name") {
			t.Name = strings.TrimSpace(a.Value)
		} else {
			p.warn(e, "attributes other than name have no effect")
		}
	}
	if t.Name == "" || len(t.Name) > 64 || !only(t.Name, alphanumeric+"._-") {
		return errors.New(`wants a name of letters, digits and . _ - as in <trunk name="t1">`)
	}
	for _, other := range p.config.Trunks {
		if other.Name == t.Name {
			return fmt.Errorf("the name %s is taken by the trunk on line %d", t.Name, other.Line)
		}
	}
	e.scope = &scope{settings: inTrunk, last: make(map[string]*element)}
	p.trunk = t
	return nil
}

// closeTrunk takes the trunk in when its end tag has come.
func (p *parser) closeTrunk(e *element) error {
	t := p.trunk
	p.trunk = nil
	switch {
	case !e.blank():
		return errors.New("holds text besides its elements")
	case t.Hop.Host == "":
		return errors.New("has no <uri>")
	case t.Register && t.User == "":
		return errors.New("has no <user> that it could register")
	case t.Password != "" && t.User == "":
		return errors.New("has no <user> that its password belongs to")
	}
	p.config.Trunks = append(p.config.Trunks, *t)
	return nil
}

// checkTrunks gives the trunks whose calls may go to any user the domain of those users.
func (p *parser) checkTrunks() error {
	domain := p.home()
	for i := range p.config.Trunks {
		t := &p.config.Trunks[i]
		if !t.Inbound.Any {
			continue
		}
		if domain == "" {
			return &Error{Line: t.Line, Element: trunkElement, Err: errors.New(
				"<inbound> * needs a <pbx>, or an <outbound-proxy> for a domain, whose users are called")}
		}
		t.Inbound.Domain = domain
	}
	return nil
}

// home is the domain of our users, or empty.
func (p *parser) home() string {
	if p.config.PBX != nil {
		return p.config.PBX.Realm
	}
	for _, o := range p.config.OutboundProxies {
		if o.Prefix == "" && o.Domain != "*" {
			return o.Domain
		}
	}
	return ""
}

func (p *parser) trunkURI(value string) (err error) {
	p.trunk.Hop, err = hop(value)
	return err
}

// userCharacters are those that a SIP URI's user may have unescaped (RFC 3261 §25.1), but for the slash, which
// would look like a path in logs.
const userCharacters = alphanumeric + "-_.!~*'()&=+$,;?"

func user(value string) (string, error) {
	if value == "" || len(value) > 128 || !only(value, userCharacters) {
		return "", errors.New("no user name")
	}
	return value, nil
}

func (p *parser) trunkUser(value string) (err error) {
	p.trunk.User, err = user(value)
	return err
}

func (p *parser) trunkPassword(value string) error {
	if value == "" {
		return errors.New("is empty")
	}
	p.trunk.Password = Secret(value)
	return nil
}

func (p *parser) trunkRealm(value string) error {
	if value == "" || len(value) > 255 || !printable(strings.ReplaceAll(value, " ", "")) {
		return errors.New("no realm")
	}
	p.trunk.Realm = value
	return nil
}

func (p *parser) trunkRegister(value string) (err error) {
	p.trunk.Register, err = yes(value)
	return err
}

func (p *parser) trunkExpires(value string) (err error) {
	if p.trunk.Expires, err = seconds(value, time.Minute, 7*24*time.Hour); err == nil && p.trunk.Expires == 0 {
		err = errors.New("0 would end the registration")
	}
	return err
}

func (p *parser) trunkNumbers(value string) error { return numberPrefixes(&p.trunk.Numbers, value) }

func (p *parser) trunkCaller(value string) (err error) {
	p.trunk.Caller, err = user(value)
	return err
}

func (p *parser) trunkInbound(value string) error {
	if value == "*" {
		p.trunk.Inbound = Inbound{Any: true}
		return nil
	}
	scheme, rest, _ := strings.Cut(value, ":")
	name, domain, found := strings.Cut(rest, "@")
	if !strings.EqualFold(scheme, "sip") || !found {
		return errors.New("no address of record")
	}
	name, err := user(name)
	if err != nil {
		return err
	}
	if domain, err = host(domain); err != nil {
		return err
	}
	p.trunk.Inbound = Inbound{User: name, Domain: domain}
	return nil
}

func (p *parser) trunkAddress(value string) error {
	a, err := peer(value)
	if err == nil {
		p.trunk.Addresses = append(p.trunk.Addresses, a)
	}
	return err
}
