// Package admission decides who may do what, how often and how many at once. It knows neither SIP messages nor
// sockets: it is asked with addresses, account names and dialled strings, and answers at once.
//
// It holds six independent judges. The caller asks them in the order of their cost, the cheapest and the one that
// keeps the least state first:
//
//		datagram ─► Queue.Late
//		request ─► Offenders.Banned ─► Limiter.Allow ─► Overload.Shed ─► (authentication) ─► Tickets.Verify
//		                                                                                    ─► Rules.Judge
//		                                                                 (a call is set up)  ─► Limiter.Begin
//
//	  - [Offenders] shuts out addresses that offend again and again, for a growing time.
//	  - [Limiter] counts what one source, one account and all together do in a time and hold at once.
//	  - [Overload] measures how long requests wait inside this process and says how many new ones to turn away
//	    (RFC 7339 in spirit: what is refused early is cheap, and calls that are up go on).
//	  - [Queue] does the same where it is known for how long each request has waited before it was read.
//	  - [Rules] reads a dialled string in every way in which somebody behind us may read it, and refuses it when one of
//	    them is not allowed (RFC 3966, E.164).
//	  - [Tickets] checks the tickets that web pages hand to their users: JSON Web Tokens (RFC 7519) or HMAC tickets.
//
// # Sources and accounts
//
// A source is an IPv4 address or an IPv6 /64, because a household is given a whole /64 and could take a new address
// for each request. Loopback, from where a reverse proxy brings everybody, and the exempt prefixes of [Limits] have
// no limits of their own; totals hold for them too. An account is the name that the caller has proved to be his,
// spelled in one way by whoever asks (lower-case host, no parameters); without one, the source takes its place.
//
// # Memory
//
// Everything that is kept on behalf of strangers has a cap and expires. Names are kept as keyed hashes of 64 bits, so
// that an entry has the same small size whatever the name, and nobody can aim for a collision. 60,000 sources take
// about 7 MB. When a table is full, entries that no longer say anything go first, then the least recently used of a
// few that are looked at; never one that a live call or registration holds.
//
// # Tickets
//
// A page that has its own users does not want a SIP password for each. Its back end makes a ticket, the page gives it
// to the gateway with the WebSocket, and the gateway knows who is there. A ticket is carried in the URL
//
//	wss://gateway.example.com/?token=TICKET        (or access_token=TICKET)
//
// or, so that it stays out of the access logs on the way, as a subprotocol beside the one of RFC 7118:
//
//	Sec-WebSocket-Protocol: sip, token.TICKET
//
// TICKET is one of two forms with the same claims. The first is an HMAC ticket, four parts joined by dots:
//
//	ticket.v1.PAYLOAD.MAC
//
//	PAYLOAD = base64url(JSON object of the claims)                without padding (RFC 4648 §5)
//	MAC     = base64url(HMAC-SHA-256(key, "ticket.v1." PAYLOAD))  without padding; 43 characters
//
// key is the configured secret, at least 32 octets. The MAC is over the ASCII octets exactly as they stand before the
// last dot; the JSON may have any spacing and order. The second form is a JWT in compact serialization, signed with
// HS256 (by the same secret), RS256, ES256 or EdDSA; never "none". With public keys configured there is no HS256, so
// that a public key cannot be mistaken for a secret.
//
// The claims:
//
//	sub  string            who the holder is: a user ("alice") or an address of record ("alice@example.com"); needed
//	exp  number            seconds since 1970 when the ticket ends; needed, at most 24 hours ahead unless configured otherwise
//	nbf  number            seconds since 1970 when it begins
//	iat  number            when it was made; in the future it is refused
//	aud  string or array   must name the configured audience, when there is one
//	jti  string            identifies the ticket; needed when tickets are for single use; random, at least 128 bits
//	to   string or array   whom the holder may call; absent: anybody whom the other rules allow; empty: nobody
//
// Times are taken with a tolerance of 5 minutes for clocks that differ. For the patterns of "to" see [Ticket.Allows].
// A ticket has at most 4,096 characters.
package admission
