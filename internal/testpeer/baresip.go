package testpeer

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Baresip is a telephone without a sound card: it sends one tone, keeps what it hears in WAV files,
// and takes commands over TCP (its ctrl_tcp module).
type Baresip struct {
	*Process
	// Port is its SIP port over UDP.
	Port int

	dir     string
	control net.Conn
	read    chan struct{} // closed when readLoop has ended

	mu     sync.Mutex
	events []BaresipEvent
}

// BaresipEvent is one event or one answer to a command, as ctrl_tcp writes it.
type BaresipEvent struct {
	Event    bool   `json:"event"`
	Type     string `json:"type"` // CALL_INCOMING, CALL_ESTABLISHED, CALL_CLOSED, REGISTER_OK, …
	Param    string `json:"param"`
	PeerURI  string `json:"peeruri"`
	Response bool   `json:"response"`
	OK       bool   `json:"ok"`
	Data     string `json:"data"`
}

// BaresipOptions say who it is.
type BaresipOptions struct {
	User, Password string
	// Registrar is "host:port" of the registrar, over UDP; empty: it does not register and is
	// called at its own address.
	Registrar string
	// Domain is that of the address of record; Registrar's if empty.
	Domain string
	// Tone is the frequency in Hz that it sends.
	Tone int
	// Codecs in baresip's spelling, "PCMU/8000/1", "opus/48000/2"; PCMU if empty.
	Codecs string
	// Encryption of its media in baresip's spelling: "srtp" (keys beside RTP/AVP), "srtp-mand"
	// (RTP/SAVP), "srtp-mandf" (RTP/SAVPF), "dtls_srtp"; none if empty.
	Encryption string
	// Ring leaves a call unanswered until [Baresip.Command] says "accept"; otherwise each call is
	// answered at once.
	Ring bool
}

// StartBaresip starts it, and returns when it takes commands and, with a registrar, is registered.
func StartBaresip(t testing.TB, o BaresipOptions) *Baresip {
	t.Helper()
	program := Require(t, "baresip")
	b := &Baresip{dir: t.TempDir(), read: make(chan struct{})}
	// With SIP on UDP and TCP at one port, baresip takes the one above for TLS.
	b.Port = FreePorts(t, 2)
	control := FreePort(t)
	b.write(t, "config", b.config(t, control, o))
	b.write(t, "accounts", b.account(o))
	b.write(t, "contacts", "")
	b.Process = Start(t, "baresip "+o.User, b.dir, program, "-4", "-f", b.dir)
	b.ready(t, "listening", func() bool { return b.HoldsTCP(control) && b.HoldsUDP(b.Port) })
	b.connect(t, control)
	if o.Registrar != "" {
		// Not by its event, which is sent before anybody can have connected to hear it.
		b.ready(t, "registered", func() bool { return b.Log.Contains("/UDP/v4} 200 OK") })
	}
	return b
}

func (b *Baresip) write(t testing.TB, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(b.dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// config: the tone generator knows 48 kHz stereo only; the player is a bridge to nowhere, and
// sndfile, a filter in the audio's way, is what writes down what was heard.
func (b *Baresip) config(t testing.TB, control int, o BaresipOptions) string {
	media := FreePorts(t, 40)
	return fmt.Sprintf(`poll_method epoll
net_interface %[1]s
sip_listen %[1]s:%[2]d
rtp_ports %[3]d-%[4]d
rtp_timeout 60
call_local_timeout 120
call_max_calls 8
audio_source ausine,%[5]d
audio_player aubridge,nowhere
audio_alert aubridge,nowhere
audio_path /nonexistent
ausrc_srate 48000
auplay_srate 48000
ausrc_channels 2
auplay_channels 2
snd_path %[6]s
module_path %[7]s
module g711.so
module g722.so
module opus.so
module ausine.so
module aubridge.so
module sndfile.so
module srtp.so
module dtls_srtp.so
module_tmp account.so
module_app menu.so
module_app ctrl_tcp.so
ctrl_tcp_listen %[1]s:%[8]d
`, loopback, b.Port, media, media+39, max(o.Tone, 10), b.dir, modulePath(), control)
}

// modulePath is where the distribution keeps baresip's modules.
func modulePath() string {
	for _, dir := range []string{"/usr/lib/baresip/modules", "/usr/local/lib/baresip/modules"} {
		if _, err := os.Stat(filepath.Join(dir, "ctrl_tcp.so")); err == nil {
			return dir
		}
	}
	return "/usr/lib/baresip/modules"
}

func (b *Baresip) account(o BaresipOptions) string {
	domain, params := o.Domain, []string{"regint=0"}
	if o.Registrar != "" {
		params = []string{"regint=300", `outbound="sip:` + o.Registrar + `;transport=udp"`}
		if domain == "" {
			domain = o.Registrar
		}
	}
	if domain == "" {
		domain = net.JoinHostPort(loopback, strconv.Itoa(b.Port))
	}
	if o.Password != "" {
		params = append(params, "auth_user="+o.User, "auth_pass="+o.Password)
	}
	codecs := o.Codecs
	if codecs == "" {
		codecs = "PCMU/8000/1"
	}
	params = append(params, "audio_codecs="+codecs)
	if o.Encryption != "" {
		params = append(params, "mediaenc="+o.Encryption)
	}
	if !o.Ring {
		params = append(params, "answermode=auto")
	}
	return fmt.Sprintf("<sip:%s@%s>;%s\n", o.User, domain, strings.Join(params, ";"))
}

// connect opens the command connection, whose reader ends when the process does.
func (b *Baresip) connect(t testing.TB, port int) {
	t.Helper()
	c, err := net.Dial("tcp4", net.JoinHostPort(loopback, strconv.Itoa(port)))
	if err != nil {
		t.Fatalf("baresip's command port: %v", err)
	}
	b.control = c
	go b.readLoop()
	t.Cleanup(func() {
		c.Close()
		<-b.read
	})
}

// readLoop collects events and answers until the connection closes. Each is a netstring
// ("12:{…json…},").
func (b *Baresip) readLoop() {
	defer close(b.read)
	r := bufio.NewReader(b.control)
	for {
		text, err := netstring(r)
		if err != nil {
			return
		}
		var e BaresipEvent
		if json.Unmarshal(text, &e) != nil {
			continue
		}
		b.mu.Lock()
		b.events = append(b.events, e)
		b.mu.Unlock()
	}
}

func netstring(r *bufio.Reader) ([]byte, error) {
	head, err := r.ReadString(':')
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(strings.TrimSuffix(head, ":"))
	if err != nil || n < 0 || n > 1<<20 {
		return nil, fmt.Errorf("netstring length %q", head)
	}
	text := make([]byte, n+1) // and the comma
	if _, err := io.ReadFull(r, text); err != nil {
		return nil, err
	}
	return text[:n], nil
}

// Command gives one of baresip's own commands: "dial" with a SIP URI, "accept", "hangup", "hold",
// "resume".
func (b *Baresip) Command(t testing.TB, command, params string) {
	t.Helper()
	text, err := json.Marshal(map[string]string{"command": command, "params": params, "token": "t"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(b.control, "%d:%s,", len(text), text); err != nil {
		t.Fatalf("baresip %s: %v", command, err)
	}
}

// Events returns those seen so far.
func (b *Baresip) Events() []BaresipEvent {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]BaresipEvent(nil), b.events...)
}

// Await waits for an event of a type, also one that has happened already, and returns it.
func (b *Baresip) Await(t testing.TB, kind string, within time.Duration) BaresipEvent {
	t.Helper()
	var found BaresipEvent
	Eventually(t, within, "event "+kind+" of "+b.Name, func() bool {
		for _, e := range b.Events() {
			if e.Event && e.Type == kind {
				found = e
				return true
			}
		}
		return false
	})
	return found
}

// Heard returns the samples of what its calls have played so far, decoded by baresip itself. They
// are mono, at the returned rate in Hz.
func (b *Baresip) Heard(t testing.TB) (pcm []int16, rate int) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(b.dir, "dump-*-dec.wav"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if samples, r := wave(text); r != 0 {
			pcm, rate = append(pcm, samples...), r
		}
	}
	return pcm, rate
}
