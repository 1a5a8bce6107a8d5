package webrtc

import (
	"bytes"
	"testing"

	"github.com/pion/stun/v4"
)

func bindingRequest(t testing.TB, username string) []byte {
	t.Helper()
	m, err := stun.Build(stun.TransactionID, stun.BindingRequest, stun.NewUsername(username),
		stun.NewShortTermIntegrity("password"), stun.Fingerprint)
	if err != nil {
		t.Fatal(err)
	}
	return m.Raw
}

func TestBindingUfrag(t *testing.T) {
	good := bindingRequest(t, "ours:theirs")
	cut := good[:len(good)-4]
	odd := bytes.Clone(good)
	odd[3]++ // length not a multiple of four
	long := bytes.Clone(good)
	long[23] = 0xff // the USERNAME points outside
	cookie := bytes.Clone(good)
	cookie[4] = 0
	response, err := stun.Build(stun.TransactionID, stun.BindingSuccess, stun.NewUsername("ours:theirs"))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		packet []byte
		want   string
		ok     bool
	}{
		{"binding request", good, "ours", true},
		{"empty", nil, "", false},
		{"short", good[:19], "", false},
		{"cut", cut, "", false},
		{"odd length", odd, "", false},
		{"attribute beyond the end", long, "", false},
		{"no magic cookie", cookie, "", false},
		{"response", response.Raw, "", false},
		{"no colon", bindingRequest(t, "ours"), "", false},
		{"no local part", bindingRequest(t, ":theirs"), "", false},
		{"DTLS", []byte{22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, "", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, ok := bindingUfrag(test.packet)
			if ok != test.ok || ok && string(got) != test.want {
				t.Errorf("got %q, %v; want %q, %v", got, ok, test.want, test.ok)
			}
		})
	}
}

// FuzzDemultiplex checks that whatever comes to a web socket is taken or dropped
// without harm, and that what is taken for a binding request is one for the
// library that will read it next.
func FuzzDemultiplex(f *testing.F) {
	f.Add(bindingRequest(f, "ours:theirs"))
	f.Add([]byte{22, 254, 253})
	f.Add([]byte{0, 1, 0, 4, 0x21, 0x12, 0xa4, 0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 6, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, p []byte) {
		m := newSocketMux(nil, addr("127.0.0.1:1"))
		c := m.open("ours")
		defer c.Close()
		m.deliver(p, addr("127.0.0.1:2"))
		ufrag, ok := bindingUfrag(p)
		if !ok {
			return
		}
		if len(p) > 0 && isDTLS(p) {
			t.Error("both STUN and DTLS")
		}
		message := &stun.Message{Raw: bytes.Clone(p)}
		if err := message.Decode(); err != nil {
			t.Fatalf("not STUN: %v", err)
		}
		username, err := message.Get(stun.AttrUsername)
		if err != nil || !bytes.HasPrefix(username, append(bytes.Clone(ufrag), ':')) {
			t.Errorf("got ufrag %q of user name %q, %v", ufrag, username, err)
		}
	})
}
