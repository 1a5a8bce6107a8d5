// Package digest answers the challenges of SIP servers at which the gateway has
// an account (RFC 3261 §22, RFC 7616, RFC 8760): the client's half of digest
// authentication.
//
//	trunk → 401 WWW-Authenticate: Digest realm="trunk.example", nonce="…", algorithm=SHA-256
//	        WWW-Authenticate: Digest realm="trunk.example", nonce="…", algorithm=MD5
//
//	value, err := digest.Answer(challenges, credentials, "REGISTER", "sip:trunk.example", nil, 1)
//
//	Authorization: Digest username="4930123", …  → trunk
//
// Of several challenges the one with the best algorithm is taken: SHA-256, then
// SHA-512-256, then MD5. Unlike RFC 8760 §2.4 it is not the topmost one, so
// that a server with MD5 on top does not weaken an account. Those with another
// algorithm (the -sess ones too), or without a usable qop, are passed over.
//
// # To whom
//
// A response to a challenge lets whoever gets it guess the password at leisure,
// and a callee may challenge a BYE of ours with the realm of somebody else
// (CVE-2021-41158). So credentials name their realm, and no other is answered.
// Credentials without a realm are for any realm of one peer; it is for the
// caller to use them only for challenges that came from there.
//
// # What it does not do
//
// It sends nothing, keeps no nonces, and verifies nobody. It has no goroutines;
// all of it may be called concurrently.
package digest
