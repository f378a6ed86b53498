package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"
)

const nodes = 3

// process is one server that this run started and will end.
type process struct {
	name string
	args []string
	log  string
	cmd  *exec.Cmd
	done chan struct{}
}

func (p *process) start(binary string) error {
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	cmd := exec.Command(binary, p.args...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = cmd.Wait() // how it ended is of no interest; its log tells
	}()
	p.cmd, p.done = cmd, done
	return nil
}

func (p *process) kill() {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Kill() // fails only when it has ended already
	<-p.done
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// Ports are taken below the range that the kernel gives to outgoing connections,
// so that a server finds its port free at its start and after a restart.
const portMin, portMax = 12_000, 30_000

// freePorts gives n ports of loopback that nobody listened on a moment ago.
func freePorts(n int) ([]int, error) {
	var ports []int
	var held []net.Listener
	defer func() {
		for _, l := range held {
			_ = l.Close()
		}
	}()
	for tries := 0; len(ports) < n; tries++ {
		if tries == 1000 {
			return nil, fmt.Errorf("found %d of %d free ports between %d and %d", len(ports), n, portMin, portMax)
		}
		port := portMin + rand.IntN(portMax-portMin)
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			held = append(held, l)
			ports = append(ports, port)
		}
	}
	return ports, nil
}

// cpuOf is the processor time that the processes have used.
func cpuOf(ps []*process) time.Duration {
	const tick = 10 * time.Millisecond // USER_HZ is 100 on every Linux port that Go runs on
	var sum time.Duration
	for _, p := range ps {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.pid()))
		if err != nil {
			continue // it was killed by this run
		}
		// Fields 14 and 15, counted behind the name, which may hold spaces.
		f := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
		for _, i := range []int{11, 12} {
			n, _ := strconv.ParseInt(string(f[i]), 10, 64)
			sum += time.Duration(n) * tick
		}
	}
	return sum
}

// stolen is the time that the host of a virtual machine took from the processors
// while they had work: the eighth number of the first line of /proc/stat.
func stolen() time.Duration {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	return parseStolen(b)
}

func parseStolen(b []byte) time.Duration {
	line, _, _ := bytes.Cut(b, []byte("\n"))
	f := bytes.Fields(line)
	if len(f) < 9 || string(f[0]) != "cpu" {
		return 0
	}
	n, err := strconv.ParseInt(string(f[8]), 10, 64)
	if err != nil {
		return 0
	}
	return time.Duration(n) * 10 * time.Millisecond
}

func ownCPU() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// diskBytes is what the files below dir occupy. Files that vanish meanwhile do
// not count.
func diskBytes(dir string) int64 {
	var sum int64
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		}
		if info, err := d.Info(); err == nil {
			if st, ok := info.Sys().(*syscall.Stat_t); ok {
				sum += st.Blocks * 512
			}
		}
		return nil
	})
	return sum
}

// latch runs a function once, from whichever goroutine comes first.
type latch struct {
	once sync.Once
	err  error
}

func (l *latch) set(err error) { l.once.Do(func() { l.err = err }) }
