package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/chatnode/chatnode/bench/target"
	"github.com/chatnode/chatnode/internal/fault"
	"github.com/chatnode/chatnode/internal/fault/disk"
	"github.com/chatnode/chatnode/internal/fault/faultfs"
	"github.com/chatnode/chatnode/internal/fault/netlab"
)

// diskBytes is the size of a node's disk in runs with power cuts.
const diskBytes = 512 << 20

// cluster is the nodes of a run and where they live.
type cluster struct {
	cfg        Config
	lab        *netlab.Lab  // nil on loopback
	outside    *netlab.Host // of the clients; nil on loopback
	nodes      []*node      // those that make up the cluster
	spare      *node        // joins and leaves
	secret     []byte
	secretFile string
	tokenFile  string
	nextID     int
}

// newCluster prepares the places. Close takes them back, also after an error.
func newCluster(cfg Config) (*cluster, error) {
	c := &cluster{cfg: cfg, secretFile: filepath.Join(cfg.Dir, "secret"), tokenFile: filepath.Join(cfg.Dir, "join-token")}
	rnd := rand.New(rand.NewPCG(cfg.Seed, 9))
	c.secret = fmt.Appendf(nil, "%016x%016x%016x", rnd.Uint64(), rnd.Uint64(), rnd.Uint64())
	err := errors.Join(
		os.WriteFile(c.secretFile, c.secret, 0o600),
		os.WriteFile(c.tokenFile, fmt.Appendf(nil, "%016x%016x", rnd.Uint64(), rnd.Uint64()), 0o600))
	if err != nil {
		return c, err
	}
	want := cfg.needs()
	if want.network || want.delays {
		if c.lab, err = netlab.New(fmt.Sprintf("cx%d", os.Getpid()%100000), cfg.Nodes+2); err != nil {
			return c, err
		}
		c.outside = c.lab.Hosts()[cfg.Nodes+1]
	}
	for place := 1; place <= cfg.Nodes+1; place++ {
		n := &node{place: place, c: c, log: filepath.Join(cfg.Dir, fmt.Sprintf("node%d.log", place))}
		n.id = c.newID()
		if place <= cfg.Nodes {
			c.nodes = append(c.nodes, n)
		} else {
			c.spare = n
		}
		if err := c.house(n, want); err != nil {
			return c, err
		}
	}
	return c, nil
}

// newID gives a node id that was never used.
func (c *cluster) newID() string {
	c.nextID++
	return fmt.Sprintf("n%d", c.nextID)
}

// house gives the node its addresses and its disk.
func (c *cluster) house(n *node, want needs) error {
	n.base = filepath.Join(c.cfg.Dir, fmt.Sprintf("place%d", n.place))
	if err := os.MkdirAll(n.base, 0o755); err != nil {
		return err
	}
	if c.lab != nil {
		n.host = c.lab.Hosts()[n.place-1]
		n.client, n.peer = n.host.Addr.String()+":7400", n.host.Addr.String()+":7401"
	} else {
		var err1, err2 error
		n.client, err1 = target.FreeAddress("127.0.0.1")
		n.peer, err2 = target.FreeAddress("127.0.0.1")
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
	}
	var err error
	switch {
	case want.disks:
		n.disk, err = disk.New(filepath.Join(c.cfg.Dir, fmt.Sprintf("disk%d", n.place)), n.base, diskBytes)
	case want.files:
		backing := n.base + "-below"
		if err = os.MkdirAll(backing, 0o755); err == nil {
			n.files, err = faultfs.Mount(backing, n.base)
		}
	}
	return err
}

// start makes the cluster: the first node alone, the others join.
func (c *cluster) start(ctx context.Context) error {
	if err := c.nodes[0].start(ctx, true, ""); err != nil {
		return err
	}
	for _, n := range c.nodes[1:] {
		if err := n.start(ctx, false, c.nodes[0].peer); err != nil {
			return err
		}
	}
	return c.awaitReplicas(ctx, c.replicas())
}

// replicas is how many of each group there are when all is well.
func (c *cluster) replicas() int { return min(3, len(c.nodes)) }

// addresses are the client ports of the nodes.
func (c *cluster) addresses() []string {
	var res []string
	for _, n := range c.nodes {
		res = append(res, n.client)
	}
	return res
}

// others are the nodes but n.
func (c *cluster) others(n *node) []*node {
	var res []*node
	for _, o := range c.nodes {
		if o != n {
			res = append(res, o)
		}
	}
	return res
}

// heal takes back every fault that is not a process: networks, files, disks.
func (c *cluster) heal() error {
	var errs []error
	if c.lab != nil {
		errs = append(errs, c.lab.Heal())
	}
	for _, n := range append(slices.Clip(c.nodes), c.spare) {
		if n.files != nil {
			n.files.Clear()
		}
		if p := n.process(); p != nil {
			errs = append(errs, p.Resume())
		}
	}
	return errors.Join(errs...)
}

// close ends what runs and takes the places back. Data and logs stay.
func (c *cluster) close() error {
	var errs []error
	nodes := c.nodes
	if c.spare != nil {
		nodes = append(slices.Clip(nodes), c.spare)
	}
	for _, n := range nodes {
		if p := n.process(); p != nil {
			_ = p.Resume()
		}
		n.kill()
	}
	for _, n := range nodes {
		if n.files != nil {
			errs = append(errs, n.files.Close())
		}
		if n.disk != nil {
			errs = append(errs, n.disk.Close())
		}
	}
	if c.lab != nil {
		errs = append(errs, c.lab.Close())
	}
	return errors.Join(errs...)
}

// missing says what the machine lacks for the run; "" for nothing.
func missing(cfg Config) string {
	want := cfg.needs()
	var lacks []string
	for _, m := range []struct {
		wanted bool
		means  fault.Means
	}{{want.network, fault.Network}, {want.delays, fault.Delays}, {want.disks, fault.Disks}, {want.files, fault.Files}, {want.clock, fault.Clocks}} {
		if m.wanted {
			if l := fault.Need(m.means); l != "" {
				lacks = append(lacks, l)
			}
		}
	}
	if want.disks && want.files {
		lacks = append(lacks, "a choice: faults of whole disks and of single files do not go into one run")
	}
	return strings.Join(lacks, "; ")
}

// poll calls ok until it is true or ctx ends, then reports the last reason.
func poll(ctx context.Context, what string, ok func() (bool, string)) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		done, why := ok()
		if done {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: not in time: %s", what, why)
		case <-tick.C:
		}
	}
}
