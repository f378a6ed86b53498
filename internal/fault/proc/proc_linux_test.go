package proc

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T, script string) (*Proc, string) {
	t.Helper()
	log := filepath.Join(t.TempDir(), "log")
	p, err := Start(Spec{Name: "sh", Path: "/bin/sh", Args: []string{"-c", script}, Log: log, Env: []string{"SAID=hello"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return p, log
}

// state is the third field of /proc/PID/stat.
func state(t *testing.T, p *Proc) string {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Pid()))
	if err != nil {
		t.Fatal(err)
	}
	s := string(b)
	return strings.Fields(s[strings.LastIndex(s, ")")+1:])[0]
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(30 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("never: ", what)
		}
	}
}

func TestKillEndsAtOnce(t *testing.T) {
	p, _ := start(t, "trap '' TERM; while :; do read x; done < /dev/zero")
	p.Kill()
	if p.Running() || p.Err() == nil {
		t.Errorf("after Kill: running %v, err %v", p.Running(), p.Err())
	}
	if err := p.Pause(); !errors.Is(err, ErrEnded) {
		t.Errorf("signal to an ended process: %v", err)
	}
}

func TestPauseAndResume(t *testing.T) {
	p, _ := start(t, "while :; do :; done")
	if err := p.Pause(); err != nil {
		t.Fatal(err)
	}
	await(t, "state T", func() bool { return state(t, p) == "T" })
	if err := p.Resume(); err != nil {
		t.Fatal(err)
	}
	await(t, "state R", func() bool { return state(t, p) == "R" })
}

func TestOutputAndExit(t *testing.T) {
	p, log := start(t, "echo $SAID; echo err >&2; exit 3")
	<-p.Done()
	b, err := os.ReadFile(log)
	if err != nil || string(b) != "hello\nerr\n" {
		t.Errorf("log %q, %v", b, err)
	}
	if p.Err() == nil || p.Err().Error() != "exit status 3" {
		t.Errorf("err %v", p.Err())
	}
}

func TestStop(t *testing.T) {
	p, _ := start(t, "exec sleep 1000")
	if err := p.Stop(30 * time.Second); err == nil {
		t.Error("sleep ends by SIGTERM, which is an error")
	}
	stubborn, log := start(t, "trap '' TERM; echo ready; while :; do read x; done < /dev/zero")
	await(t, "trap is set", func() bool { b, _ := os.ReadFile(log); return len(b) > 0 })
	if err := stubborn.Stop(50 * time.Millisecond); err == nil || !strings.Contains(err.Error(), "did not stop") {
		t.Errorf("Stop of a process that does not: %v", err)
	}
}

func TestStartFails(t *testing.T) {
	if _, err := Start(Spec{Name: "none", Path: "/nonexistent", Log: filepath.Join(t.TempDir(), "log")}); err == nil {
		t.Error("started a file that does not exist")
	}
}
