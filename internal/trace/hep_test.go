package trace

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// The bytes follow the tables of the HEP specification, chunk by chunk.
func TestEncode(t *testing.T) {
	for _, row := range []struct {
		name      string
		packet    packet
		collector Collector
		want      []string
	}{
		{
			"IPv4",
			packet{
				kind: kindSIP, protocol: protocolUDP, at: time.Unix(0x01020304, 1_500_000), callID: "c1", payload: []byte("SIP"),
				from: netip.MustParseAddrPort("192.0.2.1:5060"), to: netip.MustParseAddrPort("[::ffff:192.0.2.2]:5080"),
			},
			Collector{CaptureID: 2001, AuthKey: "key"},
			[]string{
				"48455033", "0077",
				"0000 0001 0007 02", "0000 0002 0007 11",
				"0000 0003 000a c0000201", "0000 0004 000a c0000202",
				"0000 0007 0008 13c4", "0000 0008 0008 13d8",
				"0000 0009 000a 01020304", "0000 000a 000a 000005dc",
				"0000 000b 0007 01", "0000 000c 000a 000007d1",
				"0000 000e 0009 6b6579", "0000 0011 0008 6331",
				"0000 000f 0009 534950",
			},
		},
		{
			"IPv6",
			packet{
				kind: kindRTCP, protocol: protocolTCP, at: time.Unix(1, 0), payload: []byte("{}"),
				from: netip.MustParseAddrPort("[2001:db8::1]:1"), to: netip.MustParseAddrPort("[2001:db8::2]:2"),
			},
			Collector{},
			[]string{
				"48455033", "007d",
				"0000 0001 0007 0a", "0000 0002 0007 06",
				"0000 0005 0016 20010db8000000000000000000000001", "0000 0006 0016 20010db8000000000000000000000002",
				"0000 0007 0008 0001", "0000 0008 0008 0002",
				"0000 0009 000a 00000001", "0000 000a 000a 00000000",
				"0000 000b 0007 05", "0000 000c 000a 00000000",
				"0000 000f 0008 7b7d",
			},
		},
	} {
		want, err := hex.DecodeString(strings.ReplaceAll(strings.Join(row.want, ""), " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		if got := row.packet.encode([]byte("before"), &row.collector)[len("before"):]; !bytes.Equal(got, want) {
			t.Errorf("%s:\n got %x\nwant %x", row.name, got, want)
		}
	}
}

// The same message is the same packet as Kamailio's: the file is what its module
// siptrace sent (hep_version 3, hep_capture_id 2001, auth_key "myhep").
func TestEncodeLikeKamailio(t *testing.T) {
	want, err := os.ReadFile("testdata/kamailio-5.6.3-options.hep")
	if err != nil {
		t.Fatal(err)
	}
	message := text("OPTIONS sip:127.0.0.1:5071 SIP/2.0", "Via: SIP/2.0/UDP 127.0.0.1:5075;branch=z9hG4bK1", "From: <sip:a@h>;tag=1",
		"To: <sip:b@h>", "Call-ID: c1@h", "CSeq: 1 OPTIONS", "Max-Forwards: 70", "Content-Length: 0")
	p := packet{
		kind: kindSIP, protocol: protocolUDP, at: time.Unix(0x6b01507d, 0x000a0199*1000), payload: redact([]byte(message), false),
		from: netip.MustParseAddrPort("127.0.0.1:5075"), to: netip.MustParseAddrPort("127.0.0.1:5071"),
	}
	if got := p.encode(nil, &Collector{CaptureID: 2001, AuthKey: "myhep"}); !bytes.Equal(got, want) {
		t.Errorf("\n got %x\nwant %x", got, want)
	}
}

// decode reads a HEP packet: chunk type → value.
func decode(t testing.TB, b []byte) map[uint16]string {
	t.Helper()
	if len(b) < hepHeader || string(b[:4]) != "HEP3" || int(binary.BigEndian.Uint16(b[4:])) != len(b) {
		t.Fatalf("got %d octets %.40q", len(b), b)
	}
	chunks := make(map[uint16]string)
	for b = b[hepHeader:]; len(b) > 0; {
		n := int(binary.BigEndian.Uint16(b[4:]))
		if _, twice := chunks[binary.BigEndian.Uint16(b[2:])]; twice || n < chunkHeader || n > len(b) {
			t.Fatalf("chunk %.20x", b)
		}
		chunks[binary.BigEndian.Uint16(b[2:])] = string(b[chunkHeader:n])
		b = b[n:]
	}
	return chunks
}

func TestEncodeCuts(t *testing.T) {
	p := packet{kind: kindSIP, callID: strings.Repeat("i", 70_000), payload: make([]byte, 70_000)}
	b := p.encode(nil, &Collector{AuthKey: strings.Repeat("k", 70_000)})
	got := decode(t, b)
	if len(b) != maxPacket || len(got[chunkCorrelationID]) != maxCallID || len(got[chunkAuthKey]) != maxAuthKey {
		t.Errorf("got %d octets, %d of Call-ID, %d of key", len(b), len(got[chunkCorrelationID]), len(got[chunkAuthKey]))
	}
	if got[chunkSource4] != "\x00\x00\x00\x00" {
		t.Errorf("unknown source is %x", got[chunkSource4])
	}
}

func TestReportJSON(t *testing.T) {
	at := time.Unix(0, int64(time.Second/2)).UTC()
	for _, row := range []struct {
		name   string
		report Report
		want   string
	}{
		{"empty", Report{At: at}, `{"ssrc":0,"type":201,"report_count":1,"report_blocks":[{"source_ssrc":0,"fraction_lost":0,"packets_lost":0,"highest_seq_no":0,"ia_jitter":0,"lsr":0,"dlsr":0}]}`},
		{
			"both ways",
			Report{
				At: at, SSRC: 1, OwnSSRC: 2, Packets: 75, Lost: 25, Jitter: 20 * time.Millisecond, ClockRate: 48000, RTT: 30 * time.Millisecond,
				HighestSequence: 70000, SentPackets: 5, SentOctets: 800,
			},
			`{"ssrc":2,"type":200,"report_count":1,
			"sender_information":{"ntp_timestamp_sec":2208988800,"ntp_timestamp_usec":2147483648,"rtp_timestamp":0,"packets":5,"octets":800},
			"report_blocks":[{"source_ssrc":1,"fraction_lost":64,"packets_lost":25,"highest_seq_no":70000,"ia_jitter":960,"lsr":0,"dlsr":0}],
			"report_blocks_xr":{"type":7,"id":1,"fraction_lost":64,"round_trip_delay":30}}`,
		},
		{
			"extremes",
			Report{At: at, Lost: 1 << 40, Jitter: -1, RTT: time.Hour},
			`{"ssrc":0,"type":201,"report_count":1,"report_blocks":[{"source_ssrc":0,"fraction_lost":255,"packets_lost":8388607,"highest_seq_no":0,"ia_jitter":0,"lsr":0,"dlsr":0}],
			"report_blocks_xr":{"type":7,"id":0,"fraction_lost":255,"round_trip_delay":65535}}`,
		},
		{"twice", Report{At: at, Packets: 5, Lost: -3, Jitter: time.Millisecond}, `{"ssrc":0,"type":201,"report_count":1,"report_blocks":[{"source_ssrc":0,"fraction_lost":0,"packets_lost":-3,"highest_seq_no":0,"ia_jitter":8,"lsr":0,"dlsr":0}]}`},
	} {
		var got, want any
		if err := json.Unmarshal(row.report.json(), &got); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(row.want), &want); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %s", row.name, row.report.json())
		}
	}
}

// running runs a tracer until stop is called.
func running(t *testing.T, tr *Tracer) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := tr.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	stop = func() {
		cancel()
		wg.Wait()
	}
	t.Cleanup(stop)
	return stop
}

func receive(t *testing.T, collector net.PacketConn) map[uint16]string {
	t.Helper()
	buffer := make([]byte, maxPacket)
	_ = collector.SetReadDeadline(time.Now().Add(5 * time.Second))
	n, _, err := collector.ReadFrom(buffer)
	if err != nil {
		t.Fatal(err)
	}
	return decode(t, buffer[:n])
}

func TestExportUDP(t *testing.T) {
	collector, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer collector.Close()
	var out bytes.Buffer
	tr := New(Config{Logger: logTo(&out), Collector: Collector{Address: collector.LocalAddr().String(), CaptureID: 7, AuthKey: "S3CRET-key"}})
	stop := running(t, tr)
	tr.Message(flow(t, "UDP", "192.0.2.7:4711"), false, []byte(invite("a@h", "b@h", "c1", "Authorization: S3CRET", "Content-Length: 2")+"hi"))
	got := []map[uint16]string{receive(t, collector)}
	tr.Message(flow(t, "WSS", "192.0.2.8:4712"), true, []byte(invite("a@h", "b@h", "c1")))
	tr.Report(Report{CallID: "c1", Local: netip.MustParseAddrPort("192.0.2.9:4000"), Remote: netip.MustParseAddrPort("192.0.2.7:4002"), Lost: 3})
	stop() // what is queued is sent first
	if got := tr.Stats(); got != (Stats{Sent: 3}) {
		t.Errorf("got %+v", got)
	}
	got = append(got, receive(t, collector), receive(t, collector))
	for i, want := range []map[uint16]string{
		{chunkProtocol: "\x11", chunkSource4: "\xc0\x00\x02\x07", chunkSourcePort: "\x12\x67", chunkDestination4: "\x7f\x00\x00\x01", chunkDestPort: "\x13\xc4", chunkKind: "\x01", chunkAuthKey: "S3CRET-key"},
		{chunkProtocol: "\x06", chunkDestination4: "\xc0\x00\x02\x08", chunkDestPort: "\x12\x68", chunkSourcePort: "\x13\xc4", chunkKind: "\x01", chunkCaptureID: "\x00\x00\x00\x07"},
		{chunkProtocol: "\x11", chunkSource4: "\xc0\x00\x02\x09", chunkDestination4: "\xc0\x00\x02\x07", chunkKind: "\x05"},
	} {
		want[chunkCorrelationID] = "c1"
		for kind, value := range want {
			if got[i][kind] != value {
				t.Errorf("packet %d, chunk %d: got %q, want %q", i, kind, got[i][kind], value)
			}
		}
	}
	if p := got[0][chunkPayload]; !strings.Contains(p, "Authorization: ***\r\nContent-Length: 10\r\n\r\n[2 octets]") {
		t.Errorf("got %q", p)
	}
	if !strings.Contains(got[2][chunkPayload], `"packets_lost":3`) {
		t.Errorf("got %q", got[2][chunkPayload])
	}
	if out.Len() > 0 {
		t.Errorf("logged %q", &out)
	}
}

// Over TCP packets follow each other, and a collector that comes back gets what
// was queued meanwhile.
func TestExportTCP(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	tr := New(Config{Collector: Collector{Address: l.Addr().String(), Network: "tcp"}})
	f := flow(t, "TCP", "[2001:db8::7]:4711")
	for i := range 20 {
		tr.Message(f, false, []byte(invite("a@h", "b@h", fmt.Sprint("call-", i))))
	}
	stop := running(t, tr)
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	for i := range 20 {
		head := make([]byte, hepHeader)
		if _, err := io.ReadFull(conn, head); err != nil {
			t.Fatal(err)
		}
		rest := make([]byte, binary.BigEndian.Uint16(head[4:])-hepHeader)
		if _, err := io.ReadFull(conn, rest); err != nil {
			t.Fatal(err)
		}
		got := decode(t, append(head, rest...))
		if got[chunkCorrelationID] != fmt.Sprint("call-", i) || len(got[chunkSource6]) != 16 {
			t.Errorf("packet %d: got %v", i, got)
		}
	}
	stop()
	if n, err := conn.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("after the end: %d, %v", n, err)
	}
}

// Nobody waits for a collector, and what it misses is counted.
func TestQueueIsBounded(t *testing.T) {
	f := flow(t, "UDP", "192.0.2.7:5060")
	small, large := New(Config{Collector: Collector{Address: "192.0.2.1:9060"}}), New(Config{Collector: Collector{Address: "192.0.2.1:9060"}})
	for range maxQueued + 5 {
		small.Message(f, false, []byte("OPTIONS sip:h SIP/2.0\r\n\r\n"))
	}
	if got := small.Stats(); got.Dropped != 5 {
		t.Errorf("got %+v", got)
	}
	raw := make([]byte, 64<<10)
	for range maxOctets/len(raw) + 7 {
		large.Message(f, true, raw)
	}
	if got := large.Stats(); got.Dropped != 7 {
		t.Errorf("got %+v", got)
	}
}

// A collector that cannot be reached costs one line a minute, and Run ends all
// the same.
func TestCollectorAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		tr := New(Config{Logger: logTo(&out), Collector: Collector{Address: "no port", Network: "tcp", AuthKey: "S3CRET"}})
		stop := running(t, tr)
		time.Sleep(10*time.Minute - time.Second)
		stop()
		if n := strings.Count(out.String(), "\n"); n < 5 || n > 10 {
			t.Errorf("got %d lines: %s", n, &out)
		}
		if strings.Contains(out.String(), "S3CRET") {
			t.Error("the key is logged")
		}
	})
}

func TestNoCollector(t *testing.T) {
	tr := New(Config{})
	stop := running(t, tr)
	tr.Message(flow(t, "UDP", "192.0.2.7:5060"), false, []byte(invite("a@h", "b@h", "c")))
	tr.Report(Report{CallID: "c"})
	stop()
	if got := tr.Stats(); got != (Stats{}) {
		t.Errorf("got %+v", got)
	}
}

func TestCollectorHidesItsKey(t *testing.T) {
	c := Collector{Address: "192.0.2.1:9060", CaptureID: 3, AuthKey: "S3CRET"}
	var out bytes.Buffer
	logTo(&out).Info("collector", "collector", c)
	if got := fmt.Sprintf("%v %+v %s", c, Config{Collector: c}, &out); strings.Contains(got, "S3CRET") || !strings.Contains(got, "192.0.2.1:9060 capture id 3") {
		t.Errorf("got %s", got)
	}
}
