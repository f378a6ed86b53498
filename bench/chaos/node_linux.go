package chaos

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/chatnode/chatnode/internal/fault/disk"
	"github.com/chatnode/chatnode/internal/fault/faultfs"
	"github.com/chatnode/chatnode/internal/fault/netlab"
	"github.com/chatnode/chatnode/internal/fault/proc"
)

// startMax bounds the time from the start of a process to its ready line.
const startMax = 90 * time.Second

// node is one place for a process: its host, its disk, and at most one process
// at a time. A place keeps its number for the run; the id within the cluster
// changes when the data was lost for good.
type node struct {
	place  int // 1, 2, …
	c      *cluster
	host   *netlab.Host // nil on loopback
	disk   *disk.Disk   // nil without power cuts
	files  *faultfs.FS  // nil without file faults
	base   string       // holds the data directory
	log    string
	client string
	peer   string

	mu     sync.Mutex
	id     string
	proc   *proc.Proc // nil before the first start and while it is down on purpose
	excuse string     // why the process may end by itself
	alone  string     // how a process ended by itself that a fault then found gone; "" when reported
}

func (n *node) data() string { return filepath.Join(n.base, n.ID()) }

// ID is the node id that the place has now.
func (n *node) ID() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.id
}

// process gives the running process, or nil.
func (n *node) process() *proc.Proc {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.proc == nil || !n.proc.Running() {
		return nil
	}
	return n.proc
}

// in runs fn on the node's host.
func (n *node) in(fn func() error) error {
	if n.host == nil {
		return fn()
	}
	return n.host.Do(fn)
}

// args are the arguments of a start. join is the peer address of a member, ""
// for a node that has data or makes the cluster.
func (n *node) args(bootstrap bool, join string) []string {
	a := []string{"start"}
	if join != "" {
		a = []string{"join", "--peer", join}
	}
	a = append(a, "--data-dir", n.data(), "--node-id", n.ID(),
		"--listen-client", n.client, "--listen-peer", n.peer,
		"--auth-secret-file", n.c.secretFile, "--join-token-file", n.c.tokenFile)
	if n.host != nil {
		a = append(a, "--insecure")
	}
	if bootstrap {
		a = append(a, "--bootstrap", "--groups", fmt.Sprint(n.c.cfg.Groups), "--replicas", fmt.Sprint(min(3, n.c.cfg.Nodes|1)))
	}
	return a
}

// start runs the process and waits for its ready line.
func (n *node) start(ctx context.Context, bootstrap bool, join string) error {
	from := int64(0)
	if info, err := os.Stat(n.log); err == nil {
		from = info.Size()
	}
	p, err := proc.Start(proc.Spec{
		Name: n.ID(), Path: n.c.cfg.Binary, Args: n.args(bootstrap, join), Log: n.log, In: n.in,
		Env: append([]string{"CHATNODE_STORAGE_RESERVE_BYTES=8388608"}, n.c.cfg.NodeEnv...),
	})
	if err != nil {
		return err
	}
	n.mu.Lock()
	n.proc = p
	n.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, startMax)
	defer cancel()
	return n.awaitReady(ctx, p, from)
}

// errNotUp says that a process ended before it was ready.
var errNotUp = errors.New("ended before it was ready")

func (n *node) awaitReady(ctx context.Context, p *proc.Proc, from int64) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if bytes.Contains(n.logFrom(from), []byte("ready client=")) {
			return nil
		}
		select {
		case <-p.Done():
			n.forget() // it is gone; nobody else needs to report it
			return fmt.Errorf("%s %w (%w): %s", n.ID(), errNotUp, p.Err(), lastLines(n.logFrom(from), 4))
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready in time: %s", n.ID(), lastLines(n.logFrom(from), 4))
		case <-tick.C:
		}
	}
}

func (n *node) logFrom(from int64) []byte {
	b, err := os.ReadFile(n.log)
	if err != nil || int64(len(b)) < from {
		return nil
	}
	return b[from:]
}

func lastLines(b []byte, n int) string {
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], " | ")
}

// retire gives the process that is down on purpose from now on. One that ended by
// itself before is remembered: the fault that came for it does not explain it.
func (n *node) retire() *proc.Proc {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.proc
	n.proc = nil
	if p != nil && !p.Running() && n.excuse == "" {
		n.alone = n.lastWords(p)
	}
	return p
}

func (n *node) lastWords(p *proc.Proc) string {
	return fmt.Sprintf("%s: %v: %s", n.id, p.Err(), lastLines(n.logFrom(0), 3))
}

// kill ends the process at once; it is down on purpose from then on.
func (n *node) kill() {
	if p := n.retire(); p != nil {
		p.Kill()
	}
}

// forget drops a process whose end the caller reports.
func (n *node) forget() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.proc = nil
}

// stop ends the process in an orderly way.
func (n *node) stop() error {
	p := n.retire()
	if p == nil {
		return nil
	}
	return p.Stop(stopGrace)
}

// excused says that the process may end by itself from now on; "" takes it back.
func (n *node) excused(why string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.excuse = why
}

// endedAlone reports a process that ended without being asked to and without an
// excuse. It is then down on purpose, so it is reported once.
func (n *node) endedAlone() (how string, ended bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.alone == "" && n.proc != nil && !n.proc.Running() && n.excuse == "" {
		n.alone, n.proc = n.lastWords(n.proc), nil
	}
	how, n.alone = n.alone, ""
	return how, how != ""
}

// command runs the binary's command line on the node's host.
func (n *node) command(ctx context.Context, args ...string) ([]byte, error) {
	var out, errout bytes.Buffer
	cmd := exec.CommandContext(ctx, n.c.cfg.Binary, args...)
	cmd.Stdout, cmd.Stderr = &out, &errout
	if err := n.in(cmd.Start); err != nil {
		return nil, err
	}
	if err := cmd.Wait(); err != nil {
		return nil, fmt.Errorf("%s: %w: %s", args[0], err, lastLines(errout.Bytes(), 3))
	}
	return out.Bytes(), nil
}

// dial connects from where the clients are.
func (c *cluster) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if c.outside == nil {
		var d net.Dialer
		return d.DialContext(ctx, network, addr)
	}
	return c.outside.Dial(ctx, network, addr)
}

// processOrNil is process for a node that may be nil.
func (n *node) processOrNil() *proc.Proc {
	if n == nil {
		return nil
	}
	return n.process()
}
