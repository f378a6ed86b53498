package clustertest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// Node is one node of a cluster: its place, and the process while it runs.
type Node struct {
	ID     string
	Dir    string // data directory
	Client string // HOST:PORT
	Peer   string // HOST:PORT
	Debug  string // HOST:PORT

	cluster *Cluster
	log     string   // path of what it wrote, over all its runs
	args    []string // of the first start

	mu   sync.Mutex // guards the rest
	proc *process
}

type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	code int           // valid after done; -1 when a signal ended it
}

// URL is the base of the node's client port.
func (n *Node) URL() string { return "http://" + n.Client }

// PID is the process id, 0 while the node is down.
func (n *Node) PID() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.proc == nil || ended(n.proc) {
		return 0
	}
	return n.proc.cmd.Process.Pid
}

// Launch starts the process with the arguments of the node's first start, or
// as a plain member once it has been one, and does not wait for it to be ready.
func (n *Node) Launch(tb testing.TB, extra ...string) {
	tb.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.proc != nil && !ended(n.proc) {
		tb.Fatalf("%s runs already", n.ID)
	}
	args := append(append([]string(nil), n.args...), extra...)
	if wrap := n.cluster.cfg.Wrap; wrap != nil {
		args = append(wrap(n), append([]string{Binary(tb)}, args...)...)
	} else {
		args = append([]string{Binary(tb)}, args...)
	}
	out, err := os.OpenFile(n.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		tb.Fatal(err)
	}
	defer out.Close()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(environ(), n.cluster.cfg.Env...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = procAttr()
	if err := cmd.Start(); err != nil {
		tb.Fatalf("start %s: %v", n.ID, err)
	}
	p := &process{cmd: cmd, done: make(chan struct{})}
	n.proc = p
	go func() {
		_ = cmd.Wait() // the state says how it ended
		p.code = cmd.ProcessState.ExitCode()
		close(p.done)
	}()
}

// Start launches the node and waits until it is ready.
func (n *Node) Start(tb testing.TB, extra ...string) {
	tb.Helper()
	n.Launch(tb, extra...)
	n.WaitReady(tb)
}

// WaitReady waits until the node says that it can serve.
func (n *Node) WaitReady(tb testing.TB) {
	tb.Helper()
	Until(tb, n.ID+" ready", func() error {
		if n.PID() == 0 {
			tb.Fatalf("%s ended before it was ready:\n%s", n.ID, n.Tail(40))
		}
		return n.cluster.probe(n.URL() + "/readyz")
	})
}

// Signal sends a signal to the running process.
func (n *Node) Signal(tb testing.TB, s os.Signal) {
	tb.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.proc == nil {
		tb.Fatalf("%s does not run", n.ID)
	}
	if err := n.proc.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		tb.Fatalf("signal %v to %s: %v", s, n.ID, err)
	}
}

// Kill ends the process as a crash would and waits for its end.
func (n *Node) Kill(tb testing.TB) {
	tb.Helper()
	n.Signal(tb, syscall.SIGKILL)
	n.Wait(tb)
}

// Stop asks the process to stop gracefully and gives its exit code.
func (n *Node) Stop(tb testing.TB) int {
	tb.Helper()
	n.Signal(tb, syscall.SIGTERM)
	return n.Wait(tb)
}

// Wait waits for the end of the process and gives its exit code, -1 when a
// signal ended it.
func (n *Node) Wait(tb testing.TB) int {
	tb.Helper()
	n.mu.Lock()
	p := n.proc
	n.mu.Unlock()
	Until(tb, n.ID+" ends", func() error {
		if !ended(p) {
			return errors.New("it still runs")
		}
		return nil
	})
	return p.code
}

func ended(p *process) bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Log gives all that the node has written.
func (n *Node) Log() string {
	b, err := os.ReadFile(n.log)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// Tail gives the last lines of the log.
func (n *Node) Tail(lines int) string {
	all := strings.Split(strings.TrimRight(n.Log(), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// reap ends the process at the end of the test.
func (n *Node) reap() {
	n.mu.Lock()
	p := n.proc
	n.mu.Unlock()
	if p == nil {
		return
	}
	_ = p.cmd.Process.Kill() // fails only when it has ended
	<-p.done
}

// Run runs a command of the binary to its end, with nothing of the machine's
// settings, and gives its output and exit code.
func Run(tb testing.TB, args ...string) (stdout, stderr string, code int) {
	tb.Helper()
	cmd := exec.Command(Binary(tb), args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.Dir = tb.TempDir()
	cmd.Env = []string{"HOME=" + cmd.Dir, "PATH=" + os.Getenv("PATH"), "TMPDIR=" + tb.TempDir()}
	cmd.SysProcAttr = procAttr()
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		tb.Fatalf("run %v: %v", args, err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// environ is the environment without settings of the tests themselves.
func environ() []string {
	return slices.DeleteFunc(os.Environ(), func(line string) bool {
		return strings.HasPrefix(line, BinEnv+"=") || strings.HasPrefix(line, KeepEnv+"=") || strings.HasPrefix(line, "CHATNODE_SLOW=")
	})
}

func writeFile(tb testing.TB, path, text string) string {
	tb.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		tb.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}

func label(i int) string { return fmt.Sprintf("n%d", i+1) }
