package config

// An Auth is the way of finding out who may use the gateway.
type Auth int

const (
	// AuthRegistrar lets a flow send requests when its REGISTER was accepted by the registrar.
	AuthRegistrar Auth = iota
	// AuthNone lets everybody send requests to the next hops that are named, and to no others.
	AuthNone
	// AuthToken lets those in who bring a ticket that AuthKey confirms.
	AuthToken
)

var auths = [...]string{AuthRegistrar: "registrar", AuthNone: "none", AuthToken: "token"}

// String is the way as the file spells it.
func (a Auth) String() string { return auths[a] }

// An AuthKey checks tickets. Exactly one field is set.
type AuthKey struct {
	// Secret is the key of HMAC tickets, at least 32 octets of any value (RFC 7518 §3.2).
	Secret Secret
	// File is the path of public keys in PEM or of a JWK set. It is not opened here.
	File string
}

// A NumberRegion says how numbers are dialled where the gateway stands. The zero value means that only numbers
// with a "+" are taken for international ones.
type NumberRegion struct {
	// CountryCode is that of E.164, such as "49".
	CountryCode string
	// NationalPrefix stands before a national number, such as "0"; empty where there is none.
	NationalPrefix string
	// InternationalPrefix stands for the "+", such as "00" or "011".
	InternationalPrefix string
}

// Limits are what one source, one account and all together may do. 0 means the default of the one who counts,
// unless another default is written here. A source is an address, of IPv6 a /64.
type Limits struct {
	// ConnectionsPerSource are the connections that a source has open at once.
	ConnectionsPerSource int
	// RequestsPerSecond are those of one source, RequestsPerSecondAll those of all together.
	RequestsPerSecond, RequestsPerSecondAll int
	// CallsPerSource, CallsPerAccount and CallsAll are calls at once.
	CallsPerSource, CallsPerAccount, CallsAll int
	// CallsPerMinute are new calls of one account in a minute.
	CallsPerMinute int
	// RegistrationsPerAccount are contacts that one account has registered at once.
	RegistrationsPerAccount int
	// RegistrationsPerSecond are REGISTER requests passed to one registrar; those above wait their turn. Never 0,
	// default [DefaultRegistrationsPerSecond].
	RegistrationsPerSecond int
}
