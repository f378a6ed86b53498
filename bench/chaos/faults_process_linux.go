package chaos

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/chatnode/chatnode/internal/fault/clock"
)

const stopGrace = 60 * time.Second

func kill(x *env) error       { return killOne(x, x.any()) }
func killLeader(x *env) error { return killOne(x, x.leader()) }

func killOne(x *env, n *node) error {
	if n == nil {
		return errIdle
	}
	x.note("kill -9 %s", n.ID())
	n.kill()
	x.hold(0, 3*time.Second)
	return x.restart(n)
}

func killTwo(x *env) error {
	if x.any() == nil {
		return errIdle
	}
	_ = x.any() // beside another fault one may be all that is left
	for _, n := range x.taken {
		x.note("kill -9 %s", n.ID())
		n.kill()
	}
	x.hold(0, 3*time.Second)
	return x.restartAll()
}

func killAll(x *env) error {
	if len(x.all()) == 0 {
		return errIdle
	}
	var wg sync.WaitGroup
	for _, n := range x.taken {
		x.note("kill -9 %s", n.ID())
		wg.Go(n.kill)
	}
	wg.Wait()
	x.hold(0, time.Second)
	return x.restartAll()
}

// restartAll starts the reserved nodes at once: none of them can serve without
// the others.
func (x *env) restartAll() error {
	var wg sync.WaitGroup
	errs := make([]error, len(x.taken))
	for i, n := range x.taken {
		wg.Go(func() { errs[i] = x.restart(n) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func restart(x *env) error {
	n := x.any()
	if n == nil {
		return errIdle
	}
	x.note("stop %s", n.ID())
	if err := n.stop(); err != nil {
		return err
	}
	x.hold(0, 2*time.Second)
	return x.restart(n)
}

func pause(x *env) error       { return pauseOne(x, x.any()) }
func pauseLeader(x *env) error { return pauseOne(x, x.leader()) }

func pauseOne(x *env, n *node) error {
	p := n.processOrNil()
	if p == nil {
		return errIdle
	}
	x.note("pause %s", n.ID())
	if err := p.Pause(); err != nil {
		return err
	}
	x.hold(time.Second, 6*time.Second)
	x.note("resume %s", n.ID())
	return p.Resume()
}

func jump(x *env) error {
	n := x.any()
	p := n.processOrNil()
	if p == nil {
		return errIdle
	}
	offset := time.Hour
	if x.rnd.IntN(2) == 0 {
		offset = -offset
	}
	x.note("clock of %s jumps by %v", n.ID(), offset)
	if err := clock.Jump(p.Pid(), offset); err != nil {
		return err
	}
	x.hold(2*time.Second, 8*time.Second)
	x.note("clock of %s is right again", n.ID())
	return clock.Jump(p.Pid(), 0)
}

func transfer(x *env) error {
	moved := errIdle
	for range 5 {
		s, asked := x.c.status(x.ctx)
		if asked != nil || len(s.Groups) == 0 {
			continue // another fault leaves nobody to ask
		}
		g := s.Groups[x.rnd.IntN(len(s.Groups))]
		to := x.c.nodes[x.rnd.IntN(len(x.c.nodes))]
		if to.ID() == g.Leader || to.process() == nil {
			continue
		}
		ctx, cancel := context.WithTimeout(x.ctx, 10*time.Second)
		err := x.c.transfer(ctx, g.Group, to)
		cancel()
		x.note("leadership of group %d goes from %s to %s (%v)", g.Group, g.Leader, to.ID(), err)
		if err == nil {
			moved = nil
		}
		x.hold(50*time.Millisecond, 500*time.Millisecond)
	}
	return moved
}
