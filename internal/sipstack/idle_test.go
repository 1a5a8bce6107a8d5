package sipstack

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"testing"

	"github.com/gorilla/websocket"
)

// idleClients, if it is set, makes the test binary a crowd of WebSocket clients:
// they connect to that URL, one request each, and then do nothing until standard
// input ends. They are another process so that their memory is not counted.
const idleClients = "SIPSTACK_IDLE_CLIENTS"

// holdIdleClients is that crowd.
func holdIdleClients(url string, n int) error {
	d := websocket.Dialer{Subprotocols: []string{"sip"}, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	for range n {
		ws, _, err := d.Dial(url, nil)
		if err != nil {
			return err
		}
		defer ws.Close()
		if err := ws.WriteMessage(websocket.TextMessage, []byte(request("OPTIONS", newBranch()))); err != nil {
			return err
		}
		if _, _, err := ws.ReadMessage(); err != nil {
			return err
		}
	}
	fmt.Println("connected")
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// inUse is the memory that the process needs for what it holds.
func inUse() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // pools give up what they hold at the second one
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

// An idle browser may cost 30 kB, over TLS 80.
func TestMemoryOfIdleWebSocket(t *testing.T) {
	for _, row := range []struct {
		tr      Transport
		scheme  string
		clients int
		most    int64 // octets
	}{{WS, "ws", 2000, 30_000}, {WSS, "wss", 500, 80_000}} {
		t.Run(string(row.tr), func(t *testing.T) {
			u := echoUser()
			u.closed = make(chan *Flow, row.clients)
			s := run(t, Config{TLS: certificate(t)}, u, row.tr)
			l := listenerOf(t, s, row.tr)
			before := inUse()
			clients := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
			clients.Env = append(os.Environ(), idleClients+"="+row.scheme+"://"+l.Addr().String()+"/ "+strconv.Itoa(row.clients))
			clients.Stderr = t.Output()
			hold, err := clients.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			says, err := clients.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := clients.Start(); err != nil {
				t.Fatal(err)
			}
			line, err := bufio.NewReader(says).ReadString('\n')
			each := (inUse() - before) / int64(row.clients)
			l.census.mu.Lock()
			total := l.census.total
			l.census.mu.Unlock()
			_ = hold.Close()
			_ = clients.Wait()
			if err != nil || total != row.clients {
				t.Fatalf("%d of %d clients: %q, %v", total, row.clients, line, err)
			}
			t.Logf("%s: %d octets each", row.tr, each)
			if each > row.most {
				t.Errorf("%d octets each, at most %d are wanted", each, row.most)
			}
		})
	}
}
