package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// softLimit is how many files the program may open until it raises that.
const softLimit = "64"

// process starts the program in a process of its own, with a low soft limit of open files, and waits until it
// has announced itself.
func process(t *testing.T) *exec.Cmd {
	t.Helper()
	path := write(t, quiet+demoPBX+"<transport>udp;127.0.0.1;*</transport><transport>ws;127.0.0.1;*</transport>")
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", `ulimit -Sn `+softLimit+`; exec "$0" --config "$1"`, os.Args[0], path)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	cmd.Stderr = t.Output()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
	t.Cleanup(func() { late.Stop() })
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		if strings.Contains(lines.Text(), "stop:") {
			return cmd
		}
	}
	t.Fatalf("the program has not announced itself: %v", cmd.Wait())
	return nil
}

// Either signal stops the program in order.
func TestSignals(t *testing.T) {
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(s.String(), func(t *testing.T) {
			t.Parallel()
			cmd := process(t)
			if err := cmd.Process.Signal(s); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); err != nil {
				t.Errorf("got %v, want exit status 0", err)
			}
		})
	}
}

// The soft limit of open files is raised as far as the hard one allows: a gateway with some thousand calls needs it, and shells
// begin with 1024.
func TestOpenFiles(t *testing.T) {
	cmd := process(t)
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`Max open files +(\w+) +(\w+)`).FindStringSubmatch(string(text))
	if m == nil || m[1] == softLimit {
		t.Errorf("got soft and hard limit %v, want a soft one that was raised from %s", m, softLimit)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("got %v, want exit status 0", err)
	}
}
