package raftgroup

import (
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/shard"
)

const (
	upkeepEvery = 500 * time.Millisecond
	lookEvery   = 2 // rounds of upkeep between looks at who leads
	cutEvery    = 4 // rounds of upkeep between looks at the logs' sizes
)

// upkeep looks after all groups: rounds of readers that are out for too long,
// writes that do not come back, and logs that have grown.
func (h *Host) upkeep() {
	tick := time.NewTicker(upkeepEvery)
	defer tick.Stop()
	var leaving bool
	var cutting atomic.Bool
	for n := 0; ; n++ {
		select {
		case <-h.ctx.Done():
			return
		case <-tick.C:
		}
		slow := h.deps.Logs.Stats().SyncRunning // whichever group it is for
		for i := range h.groups {
			g := h.groups[i].Load()
			if g == nil {
				continue
			}
			g.readers.expire(2*h.cfg.Heartbeat, false)
			slow = max(slow, g.logs.waiting())
			if n%lookEvery == lookEvery-1 {
				g.lookAgain()
			}
			if n%cutEvery == cutEvery-1 {
				g.warm()
			}
		}
		if n%cutEvery == cutEvery-1 && cutting.CompareAndSwap(false, true) {
			h.wg.Go(func() { // not here: it waits for disks, which this goroutine watches
				defer cutting.Store(false)
				for i := range h.groups {
					if g := h.groups[i].Load(); g != nil && h.ctx.Err() == nil {
						g.maybeCut()
					}
				}
			})
		}
		switch {
		case slow > h.cfg.StuckWrite:
			h.fatal.fail(fmt.Errorf("a write to the log has not come back for %v: the disk hangs", slow.Round(time.Millisecond)))
		case slow > h.cfg.SlowWrite && !leaving:
			leaving = true
			h.log.Error("log writes are slow: giving leaderships away", "waiting", slow)
			h.wg.Go(h.abandonAll)
		case slow < h.cfg.SlowWrite/2:
			leaving = false
		}
	}
}

// lookAgain makes the tenure compare what Raft says with what it noticed, in case a
// notification was lost.
func (g *group) lookAgain() {
	select {
	case g.look <- struct{}{}:
	default:
	}
}

// warm keeps connections to all members, so that an election needs no dial.
func (g *group) warm() {
	r := g.raft.Load()
	if r == nil {
		return
	}
	for _, s := range r.GetConfiguration().Configuration().Servers {
		if s.ID != g.host.id {
			g.host.hub.Want(shard.NodeID(s.ID))
		}
	}
}

// maybeCut shortens a log that is over its size, and one that was not cut for long.
func (g *group) maybeCut() {
	size, since := g.logs.size.held()
	c := &g.host.cfg
	switch {
	case size > c.LogBytesMax && g.logs.surplus(c.LogBytesKeep, g.machine.applied.Load()):
	case size > 0 && time.Since(since) > c.LogAgeMax:
	default:
		return
	}
	if err := g.cut(c.LogBytesKeep); err != nil && g.host.ctx.Err() == nil {
		g.log.Info("the log was not cut; it will be tried again", "err", err)
	}
}

var errInstalling = errors.New("a snapshot is coming in")

// cut makes the state durable and shortens the log to about keep bytes of what
// is applied. It does not wait for a snapshot that comes in, which may take minutes.
func (g *group) cut(keep int64) error {
	gone, r := g.gone.Load(), g.raft.Load()
	if r == nil {
		return errStopping
	}
	select {
	case g.cutting <- struct{}{}:
		defer func() { <-g.cutting }()
	default:
		return errInstalling
	}
	rc := r.ReloadableConfig()
	rc.TrailingLogs = g.logs.trailing(keep)
	if err := r.ReloadConfig(rc); err != nil {
		return err
	}
	defer func() {
		rc.TrailingLogs = math.MaxInt64
		_ = r.ReloadConfig(rc) // the same values were taken before
	}()
	g.promiseLog()
	if err := endWith(r.Snapshot(), *gone).Error(); err != nil && !errors.Is(err, raft.ErrNothingNewToSnapshot) {
		return chat.E("cut log", chat.Unavailable, "", err)
	}
	g.logs.size.looked() // where nothing was cut, too: not every two seconds from here on
	if m := g.host.deps.Metrics.Cut; m != nil {
		m(g.id, g.logs.log.FirstIndex())
	}
	return nil
}
