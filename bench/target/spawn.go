package target

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Config says which cluster to spawn.
type Config struct {
	Binary   string // of chatnode; "" looks beside this program and in the path
	Nodes    int
	Groups   int // 0 for the default
	Replicas int // 0 for the default
	Dir      string
	Keep     bool     // leave the directory
	Args     []string // more flags for every node
	Debug    bool     // open the port for profiles
	Network  bool     // each node on a host of its own, so that the network can be cut; needs root
}

// Node is one node of a target.
type Node struct {
	ID    string
	URL   string // of the client port
	Debug string // HOST:PORT of the port for profiles, "" for none
	Data  string

	binary string
	args   []string // nil when the node is not ours to start
	log    string
	place  int    // its position in a spawned cluster
	peer   string // HOST:PORT for the other nodes
	in     func(start func() error) error
	grace  time.Duration // for a graceful stop

	mu   sync.Mutex
	pid  int
	done chan struct{} // closed when the process has ended
	cmd  *exec.Cmd
}

// Spawn starts a cluster and waits until it is healthy.
func Spawn(ctx context.Context, cfg Config) (*Target, error) {
	if cfg.Nodes < 1 || cfg.Nodes > 16 {
		return nil, fmt.Errorf("spawn: %d nodes, want 1 to 16", cfg.Nodes)
	}
	binary, err := findBinary(cfg.Binary)
	if err != nil {
		return nil, err
	}
	dir := cfg.Dir
	if dir == "" {
		if dir, err = os.MkdirTemp("", "chatbench-"); err != nil {
			return nil, fmt.Errorf("spawn: %w", err)
		}
	} else if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("spawn: %w", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "n1")); err == nil {
		return nil, fmt.Errorf("spawn: %s holds the data of an earlier run, whose nodes had other addresses; give another directory", dir)
	}
	t := &Target{Dir: dir, keep: cfg.Keep || cfg.Dir != "", spawned: cfg, binary: binary}
	if err := t.prepare(); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	if err := t.boot(ctx); err != nil {
		err = fmt.Errorf("spawn: %w\n%s", err, t.tails())
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

// findBinary gives the path of the chatnode binary.
func findBinary(path string) (string, error) {
	if path != "" {
		if _, err := os.Stat(path); err != nil {
			return "", fmt.Errorf("spawn: %w", err)
		}
		return filepath.Abs(path)
	}
	if self, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(self), "chatnode")
		if _, err := os.Stat(beside); err == nil {
			return beside, nil
		}
	}
	found, err := exec.LookPath("chatnode")
	if err != nil {
		return "", errors.New("spawn: no chatnode binary beside this one or in the path; name it with --binary")
	}
	return found, nil
}

func randomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails: the runtime stops the process instead
	return hex.EncodeToString(b)
}

// prepare writes the secrets, makes the network, and says how each node is
// started.
func (t *Target) prepare() error {
	t.secret = []byte(randomHex(32))
	t.secretFile, t.tokenFile = filepath.Join(t.Dir, "secret"), filepath.Join(t.Dir, "join-token")
	if err := os.WriteFile(t.secretFile, t.secret, 0o600); err != nil {
		return fmt.Errorf("spawn: %w", err)
	}
	if err := os.WriteFile(t.tokenFile, []byte(randomHex(20)), 0o600); err != nil {
		return fmt.Errorf("spawn: %w", err)
	}
	if t.spawned.Network {
		var err error
		if t.network, err = newNetwork(t.spawned.Nodes); err != nil {
			return fmt.Errorf("spawn: %w", err)
		}
	}
	t.http = newHTTP(t.NetDial())
	for place := range t.spawned.Nodes {
		n, err := t.newNode(place)
		if err != nil {
			return fmt.Errorf("spawn: %w", err)
		}
		verb := []string{"start", "--bootstrap"}
		if place > 0 {
			verb = []string{"join", "--peer", t.Nodes[0].peer}
		}
		n.args = append(verb, n.args...)
		t.Nodes = append(t.Nodes, n)
	}
	return nil
}

// newNode says how a node that was never there is started, but for the verb.
func (t *Target) newNode(place int) (*Node, error) {
	t.named++
	id := fmt.Sprintf("n%d", t.named)
	host := "127.0.0.1"
	n := &Node{
		ID: id, binary: t.binary, place: place, grace: stopMax, in: func(start func() error) error { return start() },
		Data: filepath.Join(t.Dir, id), log: filepath.Join(t.Dir, id+".log"),
	}
	if t.network != nil {
		host = t.network.address(place)
		n.in = func(start func() error) error { return t.network.in(place, start) }
	}
	var addrs [3]string // for clients, peers and profiles
	for i := range addrs {
		if err := n.in(func() (err error) { addrs[i], err = FreeAddress(host); return err }); err != nil {
			return nil, err
		}
	}
	n.URL, n.peer = "http://"+addrs[0], addrs[1]
	n.args = []string{
		"--node-id", id, "--data-dir", n.Data, "--listen-client", addrs[0], "--listen-peer", n.peer,
		"--auth-secret-file", t.secretFile, "--join-token-file", t.tokenFile,
	}
	if t.network != nil {
		n.args = append(n.args, "--insecure") // nobody else is on that network
	}
	if t.spawned.Debug {
		n.Debug = addrs[2]
		n.args = append(n.args, "--listen-debug", n.Debug)
	}
	if t.spawned.Groups > 0 {
		n.args = append(n.args, "--groups", strconv.Itoa(t.spawned.Groups))
	}
	if t.spawned.Replicas > 0 {
		n.args = append(n.args, "--replicas", strconv.Itoa(t.spawned.Replicas))
	}
	n.args = append(n.args, t.spawned.Args...)
	return n, nil
}

// boot starts the first node, then the others, and waits for health.
func (t *Target) boot(ctx context.Context) error {
	for _, n := range t.Nodes {
		if err := n.Start(); err != nil {
			return err
		}
		if err := t.WaitReady(ctx, n); err != nil {
			return err
		}
	}
	if err := t.WaitHealthy(ctx); err != nil {
		return err
	}
	t.waitSpread(ctx)
	return nil
}

// spreadWait is how long leaders may take to be spread evenly. A cluster where
// they are not is measured as it is.
const spreadWait = 20 * time.Second

// waitSpread waits until no node leads two groups more than another.
func (t *Target) waitSpread(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, spreadWait)
	defer cancel()
	for {
		s, err := t.Status(ctx, t.Nodes[0])
		if err == nil && spread(s, len(t.Nodes)) <= 1 || pause(ctx, 100*time.Millisecond) != nil {
			return
		}
	}
}

// spread is the difference of the most and the fewest conversation groups that
// a node leads.
func spread(s Status, nodes int) int {
	led := make(map[string]int)
	for _, g := range s.Groups {
		if g.Group != 0 {
			led[g.Leader]++
		}
	}
	least, most := len(s.Groups), 0
	for _, n := range led {
		least, most = min(least, n), max(most, n)
	}
	if len(led) < nodes {
		least = 0
	}
	return most - least
}

// WaitReady waits until a node serves.
func (t *Target) WaitReady(ctx context.Context, n *Node) error {
	var last error
	for {
		if err := n.alive(); err != nil {
			return err
		}
		err := t.admin(ctx, "GET", n.URL+"/readyz", nil, nil)
		if err == nil {
			return nil
		}
		if ctx.Err() == nil {
			last = err // and not that the wait is over
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return fmt.Errorf("%s is not ready: %w", n.ID, errors.Join(err, last))
		}
	}
}

func (t *Target) tails() string {
	var b strings.Builder
	for _, n := range t.Nodes {
		fmt.Fprintf(&b, "last lines of %s:\n%s\n", n.ID, n.tail(20))
	}
	return b.String()
}

// Start launches the process of a spawned node.
func (n *Node) Start() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.args == nil {
		return fmt.Errorf("%s was not spawned by this run", n.ID)
	}
	if n.pid != 0 {
		return fmt.Errorf("%s runs already", n.ID)
	}
	out, err := os.OpenFile(n.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("start %s: %w", n.ID, err)
	}
	defer out.Close()
	cmd := exec.Command(n.binary, n.args...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = attributes()
	if err := n.in(cmd.Start); err != nil {
		return fmt.Errorf("start %s: %w", n.ID, err)
	}
	done := make(chan struct{})
	n.cmd, n.pid, n.done = cmd, cmd.Process.Pid, done
	go func() {
		_ = cmd.Wait() // its log says how it ended
		n.mu.Lock()
		if n.cmd == cmd {
			n.pid = 0
		}
		n.mu.Unlock()
		close(done)
	}()
	return nil
}

// PID is the process of the node, 0 when it is down or unknown.
func (n *Node) PID() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.pid
}

// alive tells of a spawned node that ended by itself.
func (n *Node) alive() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.args != nil && n.pid == 0 {
		return fmt.Errorf("%s does not run", n.ID)
	}
	return nil
}

// Signal sends a signal to the node's process.
func (n *Node) Signal(s os.Signal) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cmd == nil || n.pid == 0 {
		return fmt.Errorf("%s does not run", n.ID)
	}
	return n.cmd.Process.Signal(s)
}

// stopMax is how long a graceful stop may take. A node that hangs in it would
// otherwise hang the run, too, and an interrupt could not end it.
const stopMax = time.Minute

// Kill ends the process as a crash would and waits for its end.
func (n *Node) Kill() error {
	done, err := n.end(syscall.SIGKILL)
	if err == nil {
		<-done
	}
	return err
}

// Stop asks the process to stop gracefully and waits for its end; after stopMax it
// is killed, which is an error.
func (n *Node) Stop() error {
	done, err := n.end(syscall.SIGTERM)
	if err != nil {
		return err
	}
	timer := time.NewTimer(n.grace)
	defer timer.Stop()
	select {
	case <-done:
		return nil
	case <-timer.C:
		return errors.Join(fmt.Errorf("%s did not stop within %v", n.ID, n.grace), n.Kill())
	}
}

// ended is closed: the end of what does not run.
var ended = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// end sends a signal that ends the process; done is closed when it has.
func (n *Node) end(s syscall.Signal) (done <-chan struct{}, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cmd == nil || n.pid == 0 {
		return ended, nil
	}
	if err := n.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return nil, fmt.Errorf("%v to %s: %w", s, n.ID, err)
	}
	return n.done, nil
}

const logTailBytes = 8 << 10

// tail gives the last lines that the node wrote.
func (n *Node) tail(lines int) string {
	b, err := os.ReadFile(n.log)
	if err != nil {
		return err.Error()
	}
	b = b[max(0, len(b)-logTailBytes):]
	all := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
