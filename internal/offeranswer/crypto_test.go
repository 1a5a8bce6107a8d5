package offeranswer

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	// Keys of the examples in RFC 4568 §4.1 and §9.2, and of the lengths that
	// RFC 7714 §14.2 asks for.
	cmKey     = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz"
	otherKey  = "NzB4d1BINUAvLEw6UzF3WSJ+PSdFcGdUJShpX1Zj"
	gcm128Key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGw=="
	gcm256Key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKis="
)

var cryptoLines = []struct {
	name, value string
	want        *Crypto // nil: must not be chosen
}{
	{"RFC 4568 example", "1 AES_CM_128_HMAC_SHA1_80 inline:" + cmKey + "|2^20|1:4 FEC_ORDER=FEC_SRTP", &Crypto{1, AESCM80, decode(cmKey), 1 << 20, []byte{0, 0, 0, 1}}},
	{"lifetime in digits", "1 AES_CM_128_HMAC_SHA1_32 inline:" + otherKey + "|1048576", &Crypto{1, AESCM32, decode(otherKey), 1048576, nil}},
	{"MKI without lifetime", "2 AES_CM_128_HMAC_SHA1_80 inline:" + otherKey + "|66051:3", &Crypto{2, AESCM80, decode(otherKey), 0, []byte{1, 2, 3}}},
	{"GCM", "3 AEAD_AES_128_GCM inline:" + gcm128Key, &Crypto{3, AESGCM128, decode(gcm128Key), 0, nil}},
	{"GCM with 256 bits", "4 AEAD_AES_256_GCM inline:" + gcm256Key, &Crypto{4, AESGCM256, decode(gcm256Key), 0, nil}},
	{"no padding", "3 AEAD_AES_128_GCM inline:" + strings.TrimRight(gcm128Key, "="), &Crypto{3, AESGCM128, decode(gcm128Key), 0, nil}},
	{"longest lifetime", "1 AES_CM_128_HMAC_SHA1_80 inline:" + cmKey + "|2^48", &Crypto{1, AESCM80, decode(cmKey), 1 << 48, nil}},
	{"window", "1 AES_CM_128_HMAC_SHA1_80 inline:" + cmKey + " WSH=1024", &Crypto{1, AESCM80, decode(cmKey), 0, nil}},
	{"no derivation", "1 AES_CM_128_HMAC_SHA1_80 inline:" + cmKey + " KDR=0", &Crypto{1, AESCM80, decode(cmKey), 0, nil}},
	{"extension to be ignored", "1 AES_CM_128_HMAC_SHA1_80 inline:" + cmKey + " -x=1", &Crypto{1, AESCM80, decode(cmKey), 0, nil}},

	{"extension that must be known", "1 AES_CM_128_HMAC_SHA1_80 inline:" + cmKey + " x=1", nil},
	{"derivation rate", "1 AES_CM_128_HMAC_SHA1_80 inline:" + cmKey + " KDR=20", nil},
	{"stream in clear", "1 AES_CM_128_HMAC_SHA1_80 inline:" + cmKey + " UNENCRYPTED_SRTP", nil},
	{"reports in clear", "1 AES_CM_128_HMAC_SHA1_80 inline:" + cmKey + " UNENCRYPTED_SRTCP", nil},
	{"no tags", "1 AES_CM_128_HMAC_SHA1_80 inline:" + cmKey + " UNAUTHENTICATED_SRTP", nil},
	{"correction before encryption", "1 AES_CM_128_HMAC_SHA1_80 inline:" + cmKey + " FEC_ORDER=SRTP_FEC", nil},
	{"key for correction", "1 AES_CM_128_HMAC_SHA1_80 inline:" + cmKey + " FEC_KEY=inline:" + otherKey, nil},
	{"several keys", "1 AES_CM_128_HMAC_SHA1_80 inline:" + cmKey + "|2^20|1:4;inline:" + otherKey + "|2^20|2:4", nil},
	{"suite of others", "1 F8_128_HMAC_SHA1_80 inline:" + cmKey, nil},
	{"key too short", "1 AES_CM_128_HMAC_SHA1_80 inline:" + gcm128Key, nil},
	{"key too long", "1 AEAD_AES_128_GCM inline:" + cmKey, nil},
	{"no base64", "1 AES_CM_128_HMAC_SHA1_80 inline:" + strings.Repeat("?", 40), nil},
	{"other method", "1 AES_CM_128_HMAC_SHA1_80 uri:" + cmKey, nil},
	{"no tag", "x AES_CM_128_HMAC_SHA1_80 inline:" + cmKey, nil},
	{"tag zero", "0 AES_CM_128_HMAC_SHA1_80 inline:" + cmKey, nil},
	{"tag of ten digits", "1000000000 AES_CM_128_HMAC_SHA1_80 inline:" + cmKey, nil},
	{"lifetime zero", "1 AES_CM_128_HMAC_SHA1_80 inline:" + cmKey + "|0", nil},
	{"lifetime beyond SRTP's", "1 AES_CM_128_HMAC_SHA1_80 inline:" + cmKey + "|2^49", nil},
	{"MKI of no length", "1 AES_CM_128_HMAC_SHA1_80 inline:" + cmKey + "|2^20|1:0", nil},
	{"MKI longer than its length", "1 AES_CM_128_HMAC_SHA1_80 inline:" + cmKey + "|2^20|256:1", nil},
	{"MKI beyond any use", "1 AES_CM_128_HMAC_SHA1_80 inline:" + cmKey + "|2^20|1:128", nil},
	{"too many parts", "1 AES_CM_128_HMAC_SHA1_80 inline:" + cmKey + "|2^20|1:4|5", nil},
	{"nothing", "", nil},
}

func decode(key string) MasterKey {
	raw, err := base64.StdEncoding.DecodeString(key)
	if err != nil {
		panic(err)
	}
	return raw
}

func TestParseCrypto(t *testing.T) {
	for _, test := range cryptoLines {
		t.Run(test.name, func(t *testing.T) {
			got, ok := parseCrypto(test.value)
			if ok != (test.want != nil) {
				t.Fatalf("got %v, want %v", ok, test.want != nil)
			}
			if !ok {
				return
			}
			if !got.Equal(*test.want) || got.Tag != test.want.Tag || got.Lifetime != test.want.Lifetime {
				t.Errorf("got %+v, want %+v", got, *test.want)
			}
			if again, ok := parseCrypto(got.text()); !ok || !again.Equal(got) {
				t.Errorf("it does not read as it was written: %d %s", again.Tag, again.Suite)
			}
		})
	}
}

func TestCryptoOfASection(t *testing.T) {
	m := &mustParse(t, phone("m=audio 4000 RTP/SAVP 0",
		"a=crypto:1 F8_128_HMAC_SHA1_80 inline:"+cmKey,
		"a=crypto:2 AEAD_AES_128_GCM inline:"+gcm128Key,
		"a=crypto:3 AES_CM_128_HMAC_SHA1_80 inline:"+cmKey,
		"a=crypto:3 AES_CM_128_HMAC_SHA1_80 inline:"+otherKey,
	)).Media[0]
	var got []string
	for _, c := range m.Crypto {
		master, salt := c.Split()
		got = append(got, fmt.Sprintf("%d %s %d %d", c.Tag, c.Suite, len(master), len(salt)))
	}
	if diff := cmp.Diff([]string{"2 AEAD_AES_128_GCM 16 12", "3 AES_CM_128_HMAC_SHA1_80 16 14"}, got); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
	if !m.Crypto[1].Equal(Crypto{Suite: AESCM80, Key: decode(cmKey)}) {
		t.Error("the second line of a tag counts")
	}
}

func TestAnsweredCrypto(t *testing.T) {
	sent := &Media{Crypto: []Crypto{{Tag: 1, Suite: AESGCM128, Key: decode(gcm128Key)}, {Tag: 2, Suite: AESCM80, Key: decode(cmKey)}}}
	theirs := Crypto{Tag: 2, Suite: AESCM80, Key: decode(otherKey)}
	tests := []struct {
		name     string
		answered []Crypto
		want     error
	}{
		{"the second", []Crypto{theirs}, nil},
		{"none", nil, ErrNotAcceptable},
		{"two", []Crypto{theirs, {Tag: 1, Suite: AESGCM128}}, ErrNotAcceptable},
		{"a tag of its own", []Crypto{{Tag: 3, Suite: AESCM80}}, ErrNotAcceptable},
		{"another suite", []Crypto{{Tag: 2, Suite: AESCM32}}, ErrNotAcceptable},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ours, got, err := AnsweredCrypto(sent, &Media{Crypto: test.answered})
			if !errors.Is(err, test.want) || err == nil && (!got.Equal(theirs) || !ours.Equal(sent.Crypto[1])) {
				t.Errorf("got %v, %v, %v", ours, got, err)
			}
		})
	}
}

// Whatever way a description is printed, its keys are not.
func TestKeysStaySecret(t *testing.T) {
	d := mustParse(t, phone("m=audio 4000 RTP/AVP 0",
		"a=crypto:3 AES_CM_128_HMAC_SHA1_80 inline:"+cmKey,
		"a=tcap:1 RTP/SAVP", "a=acap:1 crypto:1 AES_CM_128_HMAC_SHA1_80 inline:"+otherKey, "a=pcfg:1 t=1 a=1"))
	if len(d.Media[0].Crypto) != 1 || len(d.Media[0].Potential) != 1 {
		t.Fatalf("got %+v", d.Media[0])
	}
	raw := decode(cmKey)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q", "%d"} {
		text := fmt.Sprintf(verb, *d)
		for _, secret := range []string{cmKey, otherKey, string(raw), fmt.Sprintf("%x", []byte(raw)), strings.Trim(fmt.Sprint([]byte(raw)), "[]")} {
			if strings.Contains(text, secret) {
				t.Errorf("%s prints a key", verb)
			}
		}
	}
	text, err := json.Marshal(d.Media[0].Crypto)
	if err != nil || bytes.Contains(text, []byte(cmKey)) || bytes.Contains(text, []byte(base64.StdEncoding.EncodeToString(raw))) {
		t.Errorf("JSON: %s, %v", text, err)
	}
}
