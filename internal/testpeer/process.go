package testpeer

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// stopPatience is how long a peer may take to end after SIGTERM before it is killed.
const stopPatience = 5 * time.Second

// Log is what a process has written so far. It may be read while the process writes.
type Log struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write implements io.Writer for the process.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

// String returns everything written so far.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// Contains tells whether text has been written.
func (l *Log) Contains(text string) bool { return strings.Contains(l.String(), text) }

// tail returns at most the last n octets.
func (l *Log) tail(n int) string {
	s := l.String()
	if len(s) > n {
		s = "…" + s[len(s)-n:]
	}
	return s
}

// Process is a foreign program that was started for one test and does not outlive it.
type Process struct {
	// Name is for messages: "kamailio", "sipp uas.xml".
	Name string
	// Log has its output and error output.
	Log *Log

	cmd  *exec.Cmd
	done chan struct{} // closed after the process has ended and err is set
	err  error
	stop sync.Once
}

// Start runs a program with its own process group in dir (the test's, where it may leave files) and
// ends it at the test's Cleanup.
func Start(t testing.TB, name, dir, program string, args ...string) *Process {
	t.Helper()
	p := &Process{Name: name, Log: &Log{}, done: make(chan struct{})}
	p.cmd = exec.Command(program, args...)
	p.cmd.Dir = dir
	p.cmd.Stdout, p.cmd.Stderr = p.Log, p.Log
	// TERM: SIPp draws its screen with curses even when nobody looks. TZ: none of the peers' time
	// stamps shall depend on where the test runs.
	p.cmd.Env = append(os.Environ(), "TERM=dumb", "TZ=UTC")
	// A group of its own takes the children along (Kamailio has a dozen), and keeps a ^C at the
	// test's terminal from ending peers before the tests' cleanups have run.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.cmd.WaitDelay = time.Second
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	go p.wait()
	t.Cleanup(func() {
		p.Stop()
		if t.Failed() {
			t.Logf("--- %s wrote:\n%s", p.Name, p.Log.tail(24<<10))
			p.keep(t)
		}
	})
	return p
}

// keep writes the whole log into $ARTIFACTS, where CI collects what explains a failure.
func (p *Process) keep(t testing.TB) {
	dir := os.Getenv("ARTIFACTS")
	if dir == "" {
		return
	}
	file := filepath.Join(dir, strings.NewReplacer("/", "_", " ", "_").Replace(fmt.Sprintf("%s-%s-%d.log", t.Name(), p.Name, p.PID())))
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(file, []byte(p.Log.String()), 0o644)); err != nil {
		t.Logf("log of %s not kept: %v", p.Name, err)
	}
}

// wait reaps the process. It ends with it; Stop waits for it.
func (p *Process) wait() {
	p.err = p.cmd.Wait()
	close(p.done)
}

// PID returns the process's id, which is also its group's.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Ended tells whether the process has ended.
func (p *Process) Ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Stop ends the process and its group and waits for the end. It may be called again.
func (p *Process) Stop() {
	p.stop.Do(func() {
		p.end(syscall.SIGTERM)
		_ = syscall.Kill(-p.PID(), syscall.SIGKILL) // children that did not follow
	})
}

// Signal sends one signal to the process alone.
func (p *Process) Signal(s syscall.Signal) error { return p.cmd.Process.Signal(s) }

func (p *Process) end(s syscall.Signal) {
	if p.Ended() {
		return
	}
	_ = p.Signal(s)
	patience := time.NewTimer(stopPatience)
	defer patience.Stop()
	select {
	case <-p.done:
	case <-patience.C:
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

// WaitExit waits until the process ends by itself and returns its exit status.
func (p *Process) WaitExit(t testing.TB, within time.Duration) int {
	t.Helper()
	patience := time.NewTimer(within)
	defer patience.Stop()
	select {
	case <-p.done:
	case <-patience.C:
		t.Fatalf("%s still runs after %s", p.Name, within)
	}
	if exit, ok := errors.AsType[*exec.ExitError](p.err); ok {
		return exit.ExitCode()
	}
	if p.err != nil {
		t.Fatalf("%s: %v", p.Name, p.err)
	}
	return 0
}

// ready waits until the peer is able to serve, and fails at once when it dies instead.
func (p *Process) ready(t testing.TB, what string, condition func() bool) {
	t.Helper()
	Eventually(t, 20*time.Second, p.Name+" "+what, func() bool {
		if p.Ended() {
			t.Fatalf("%s ended while starting: %v\n%s", p.Name, p.err, p.Log.tail(8<<10))
		}
		return condition()
	})
}

// Eventually asks for a condition of a foreign process until it holds, and fails the test when it
// does not in time. Conditions inside our own process are awaited by channels instead.
func Eventually(t testing.TB, within time.Duration, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(within)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("no %s within %s", what, within)
		}
		<-tick.C
	}
}

// Require finds a peer's program, or skips the test with the reason; where TESTPEER_REQUIRE is
// set, absence is a failure, so that CI cannot lose a peer unnoticed.
func Require(t testing.TB, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err == nil {
		return path
	}
	Missing(t, program)
	return ""
}

// Missing ends a test that lacks something of this machine: by a skip, or as Require has it.
func Missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("TESTPEER_REQUIRE") != "" {
		t.Fatalf("%s: not installed", what)
	}
	t.Skipf("%s: not installed", what)
}
