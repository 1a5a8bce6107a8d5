package testpeer

import (
	"net"
	"os"
	"os/exec"
	"testing"
	"time"
)

func TestProcessLifeEndsWithTheTest(t *testing.T) {
	var p *Process
	t.Run("inner", func(t *testing.T) {
		p = Start(t, "shell", t.TempDir(), "/bin/sh", "-c", "echo ready; sleep 60 & wait")
		Eventually(t, 10*time.Second, "greeting", func() bool { return p.Log.Contains("ready\n") })
		if p.Ended() || p.Descriptors() < 3 {
			t.Errorf("ended: %v, %d descriptors", p.Ended(), p.Descriptors())
		}
	})
	if !p.Ended() {
		t.Error("the process outlived its test")
	}
	if status := Start(t, "shell", t.TempDir(), "/bin/sh", "-c", "exit 3").WaitExit(t, 10*time.Second); status != 3 {
		t.Errorf("exit status %d, want 3", status)
	}
}

func TestSockets(t *testing.T) {
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	p := &Process{cmd: &exec.Cmd{Process: self}}
	port := FreePort(t)
	if p.HoldsUDP(port) || p.HoldsTCP(port) {
		t.Fatal("a free port is held")
	}
	u, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	if !p.HoldsUDP(port) || p.HoldsTCP(port) {
		t.Errorf("of UDP port %d: UDP %v, TCP %v", port, p.HoldsUDP(port), p.HoldsTCP(port))
	}
}

func TestFreePorts(t *testing.T) {
	first := 0
	t.Run("inner", func(t *testing.T) {
		first = FreePorts(t, 10)
		if first%2 != 0 || reserve(first+9, 1) {
			t.Errorf("%d to %d: odd, or not ours alone", first, first+9)
		}
	})
	if !reserve(first, 10) {
		t.Error("ports of a test that is over are still kept")
	}
	release(first, 10)
}
