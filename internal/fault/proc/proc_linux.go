package proc

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// Spec says what to run.
type Spec struct {
	Name string // for messages
	Path string
	Args []string
	Env  []string // added to the environment of this program
	Log  string   // file that takes stdout and stderr, appended to
	// In, if set, runs start where the process has to live, such as a network
	// namespace. It must call start on the thread it prepared.
	In func(start func() error) error
}

// Proc is one process.
type Proc struct {
	name string
	cmd  *exec.Cmd
	done chan struct{}
	err  error // valid once done is closed

	mu    sync.Mutex // guards ended, and orders signals before the collection
	ended bool
}

// Start runs the process.
func Start(s Spec) (*Proc, error) {
	log, err := os.OpenFile(s.Log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }() // the child has its own descriptor
	cmd := exec.Command(s.Path, s.Args...)
	cmd.Env = append(os.Environ(), s.Env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	in := s.In
	if in == nil {
		in = func(start func() error) error { return start() }
	}
	if err := in(cmd.Start); err != nil {
		return nil, fmt.Errorf("start %s: %w", s.Name, err)
	}
	p := &Proc{name: s.Name, cmd: cmd, done: make(chan struct{})}
	go p.collect()
	return p, nil
}

// collect waits for the end without reaping, then reaps under the lock, so that
// no signal can go to a pid that was given to another process meanwhile.
func (p *Proc) collect() {
	waitExit(p.cmd.Process.Pid)
	p.mu.Lock()
	p.err = p.cmd.Wait()
	p.ended = true
	p.mu.Unlock()
	close(p.done)
}

// Pid is the process id.
func (p *Proc) Pid() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended.
func (p *Proc) Done() <-chan struct{} { return p.done }

// Err says how it ended; nil while it runs and after exit code 0.
func (p *Proc) Err() error {
	select {
	case <-p.done:
		return p.err
	default:
		return nil
	}
}

// Running reports whether the process has not ended.
func (p *Proc) Running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// ErrEnded says that the process is gone already.
var ErrEnded = errors.New("process has ended")

// Signal sends sig.
func (p *Proc) Signal(sig syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return fmt.Errorf("%s: %w", p.name, ErrEnded)
	}
	return p.cmd.Process.Signal(sig)
}

// Kill ends the process at once (SIGKILL) and waits until it is gone.
func (p *Proc) Kill() {
	_ = p.Signal(syscall.SIGKILL) // fails only when it is gone already
	<-p.done
}

// Pause stops the process (SIGSTOP) until Resume.
func (p *Proc) Pause() error { return p.Signal(syscall.SIGSTOP) }

// Resume lets a paused process go on.
func (p *Proc) Resume() error { return p.Signal(syscall.SIGCONT) }

// Stop asks the process to end (SIGTERM) and kills it after the grace.
func (p *Proc) Stop(grace time.Duration) error {
	if err := p.Signal(syscall.SIGTERM); err != nil {
		return p.Err()
	}
	t := time.NewTimer(grace)
	defer t.Stop()
	select {
	case <-p.done:
		return p.Err()
	case <-t.C:
		p.Kill()
		return fmt.Errorf("%s: did not stop within %v", p.name, grace)
	}
}
