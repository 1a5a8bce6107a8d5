package webrtc

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"strconv"
	"time"
)

// RelayCredentials makes credentials for a TURN server that shares a secret
// with us, as coturn's use-auth-secret has it: the user name is the Unix time
// until which they may be used, with a name that is for the server's log alone;
// the password is the base64 of its HMAC-SHA1. There is no RFC: the draft
// (behave-turn-rest) expired, and every server has it. SHA-1 as an HMAC key
// derivation is sound still.
func RelayCredentials(secret, name string, until time.Time) (user, password string) {
	user = strconv.FormatInt(until.Unix(), 10) + ":" + name
	h := hmac.New(sha1.New, []byte(secret))
	h.Write([]byte(user))
	return user, base64.StdEncoding.EncodeToString(h.Sum(nil))
}
