package chaos

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/chatnode/chatnode/internal/fault/atrest"
)

// repairMax bounds the replacement of a node, which goes on after the load.
const repairMax = 3 * time.Minute

// membership lets the spare node join and removes it again.
func membership(x *env) error {
	n := x.c.spare
	if !x.take(n) {
		return errIdle
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(x.ctx), repairMax)
	defer cancel()
	x.note("%s joins", n.ID())
	if err := x.join(ctx, n); err != nil {
		return err
	}
	x.hold(3*time.Second, 10*time.Second)
	x.note("%s is removed", n.ID())
	return x.leave(ctx, n)
}

// join starts the node as a new member. A fault of the moment may leave nobody
// to join, so it is tried again.
func (x *env) join(ctx context.Context, n *node) error {
	return poll(ctx, "join of "+n.ID(), func() (bool, string) {
		n.kill()
		for _, via := range x.c.nodes {
			if via == n || via.process() == nil {
				continue
			}
			err := n.start(ctx, false, via.peer)
			if err == nil {
				return true, ""
			}
			return false, err.Error()
		}
		return false, "no node to join"
	})
}

// leave removes the node and gives the place another id for the next time.
func (x *env) leave(ctx context.Context, n *node) error {
	n.excused("removed")
	if err := x.c.remove(ctx, n.ID()); err != nil {
		return err
	}
	n.kill()
	old := n.data()
	x.c.rename(n)
	n.excused("")
	return atrest.Wipe(old)
}

// rename gives the place a new node id.
func (c *cluster) rename(n *node) {
	id := c.newID()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.id = id
}

// replace gives up the node's data and identity: it is removed from the cluster
// and joins as a new one.
func (x *env) replace(n *node) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(x.ctx), repairMax)
	defer cancel()
	x.note("%s is replaced", n.ID())
	if err := x.leave(ctx, n); err != nil {
		return err
	}
	if err := x.join(ctx, n); err != nil {
		return err
	}
	x.note("%s has taken its place", n.ID())
	return x.c.awaitReplicas(ctx, x.c.replicas())
}

// wipe: an empty directory under an old identity must not take part.
func wipe(x *env) error {
	n := x.any()
	if n == nil {
		return errIdle
	}
	x.note("kill %s and wipe its directory", n.ID())
	n.kill()
	if err := atrest.Wipe(n.data()); err != nil {
		return err
	}
	n.excused("wiped")
	err := n.start(x.ctx, false, x.c.others(n)[0].peer)
	if err == nil {
		return fmt.Errorf("%s joined again under its old id with an empty directory", n.ID())
	}
	x.note("wiped: %v", err)
	n.kill()
	if x.ctx.Err() == nil && !errors.Is(err, errNotUp) {
		return fmt.Errorf("with an empty directory %s neither refuses nor starts: %w", n.ID(), err)
	}
	return x.replace(n)
}

// corrupt: a node whose files are damaged serves what is right, or nothing.
func corrupt(x *env) error {
	n := x.any()
	if n == nil {
		return errIdle
	}
	x.note("stop %s to damage its files", n.ID())
	n.kill()
	files, err := atrest.Files(n.data(), 512, "*.sst", "*.seg", "*.log", "*.db", "*.wal")
	if err != nil {
		return err
	}
	flips := 0
	for range min(1+x.rnd.IntN(3), len(files)) {
		said, err := atrest.Flip(x.rnd, files[x.rnd.IntN(len(files))], 0, 1)
		if err != nil {
			continue // an empty file
		}
		flips++
		x.note("%s: %s", n.ID(), said)
	}
	if flips == 0 {
		if err := x.restart(n); err != nil {
			return err
		}
		return errIdle
	}
	n.excused("corrupt files")
	err = n.start(x.ctx, false, "")
	x.note("%s with corrupt files: %v", n.ID(), err)
	if err == nil {
		x.hold(2*time.Second, 5*time.Second)
	}
	// Damaged data is given up, whether it was met yet or not: what was not
	// read would be found by the last check of the run.
	n.kill()
	return x.replace(n)
}

// refuseMax is how long a node may run before it finds that a log of its is
// older than its promises.
const refuseMax = 15 * time.Second

// endsWithin reports whether the process ends by itself.
func (n *node) endsWithin(d time.Duration) bool {
	p := n.process()
	if p == nil {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-p.Done():
		return true
	case <-t.C:
		return false
	}
}

// rollback: a log that is an old copy of itself has less than the node promised.
func rollback(x *env) error {
	n := x.any()
	if n == nil {
		return errIdle
	}
	x.note("copy the data of %s", n.ID())
	if err := n.stop(); err != nil {
		return err
	}
	old := filepath.Join(x.cfg.Dir, fmt.Sprintf("copy-%d-%x", n.place, x.rnd.Uint32()))
	if err := atrest.Copy(n.data(), old); err != nil {
		return err
	}
	if err := x.restart(n); err != nil {
		return err
	}
	x.hold(2*time.Second, 4*time.Second)
	if err := n.stop(); err != nil {
		return err
	}
	// The promises stay: they are kept apart from the log for this very case.
	if err := atrest.RollBack(n.data(), old, "promises"); err != nil {
		return err
	}
	n.excused("rolled back")
	err := n.start(context.WithoutCancel(x.ctx), false, "")
	if err == nil && !n.endsWithin(refuseMax) { // groups are opened one after the other
		err = x.replace(n)
		return errors.Join(fmt.Errorf("%s goes on with a log that is older than its promises", n.ID()), err)
	}
	x.note("%s with an old copy of its data: %v", n.ID(), err)
	n.kill()
	return x.replace(n)
}
