package pbx

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/netip"

	"github.com/emiago/sipgo/sip"
)

const tokenMAC = 12 // octets of HMAC-SHA-256 kept

// hops are the two ends of a routed dialog as this exchange reaches them.
type hops struct{ caller, callee netip.AddrPort }

// next gives where a request of the dialog goes that came from source and whose
// next URI is u: to the port that u names on the machine of one of the two
// parties, else (a name, a private address behind a NAT) to the party that it
// did not come from. ok is false for a source that is neither.
func (h hops) next(u *sip.Uri, source netip.AddrPort) (to netip.AddrPort, ok bool) {
	if to, ok = literal(u); ok && to.Port() != 0 && (to.Addr() == h.caller.Addr() || to.Addr() == h.callee.Addr()) {
		return to, true
	}
	switch {
	case source == h.caller:
		return h.callee, true
	case source == h.callee:
		return h.caller, true
	case source.Addr() == h.caller.Addr():
		return h.callee, true
	case source.Addr() == h.callee.Addr():
		return h.caller, true
	}
	return netip.AddrPort{}, false
}

// tokens makes and verifies the user parts of our Record-Route. A token ties a
// dialog's Call-ID to its two hops, so that the exchange keeps no state for a
// dialog and is no relay either: who has not been through authentication has
// none, and who has can't use it for another address.
type tokens struct{ key [32]byte }

func newTokens() *tokens {
	t := &tokens{}
	_, _ = rand.Read(t.key[:])
	return t
}

func (t *tokens) mac(callID string, head []byte) []byte {
	h := hmac.New(sha256.New, t.key[:])
	h.Write(head)
	h.Write([]byte(callID))
	return h.Sum(nil)[:tokenMAC]
}

func (t *tokens) encode(callID string, h hops) string {
	caller, _ := h.caller.MarshalBinary() // never fails
	callee, _ := h.callee.MarshalBinary()
	raw := append([]byte{byte(len(caller))}, caller...)
	raw = append(raw, callee...)
	return base64.RawURLEncoding.EncodeToString(append(raw, t.mac(callID, raw)...))
}

// decode gives the hops of a token made for this Call-ID; ok is false for
// everything else.
func (t *tokens) decode(callID, text string) (h hops, ok bool) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(raw) < 1+tokenMAC {
		return h, false
	}
	head, mac := raw[:len(raw)-tokenMAC], raw[len(raw)-tokenMAC:]
	n := int(head[0])
	if !hmac.Equal(mac, t.mac(callID, head)) || len(head) < 1+n {
		return h, false
	}
	return h, h.caller.UnmarshalBinary(head[1:1+n]) == nil && h.callee.UnmarshalBinary(head[1+n:]) == nil
}
