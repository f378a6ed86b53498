package router

import (
	"time"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/internal/mono"
	"github.com/chatnode/chatnode/shard"
)

// proposal is one command on its way. All fields but those set before it is
// shared are guarded by its group's mutex. It goes back to the pool when it is
// finished and no attempt's answer is outstanding.
type proposal struct {
	g        *group
	cmd      []byte
	deadline int64 // as mono.Now
	done     func(fsm.Result, error)
	seq      uint64 // place in its group's order

	prev, next *proposal
	list       *list

	attempt  uint64       // token of the newest attempt; never used again, not even by another command
	node     shard.NodeID // which has it
	refs     int          // answers outstanding
	localOut bool         // one of them is the local host's, of attempt localTok
	localTok uint64
	maybe    bool // an attempt may have been appended
	finished bool
	onLocal  func(fsm.Result, error)
}

func newProposal() *proposal {
	p := &proposal{}
	p.onLocal = func(res fsm.Result, err error) { p.answered(p.localTok, true, res, err) }
	return p
}

// Answered implements [Caller].
func (p *proposal) Answered(token uint64, res fsm.Result, err error) {
	p.answered(token, false, res, err)
}

func (r *Router) propose(id shard.GroupID, cmd []byte, deadline time.Time, done func(fsm.Result, error)) {
	if len(cmd) > fsm.CommandBytesMax {
		done(fsm.Result{}, chat.E("propose", chat.TooLarge, "the command is too large", nil))
		return
	}
	if r.closing.Load() {
		done(fsm.Result{}, errStopping())
		return
	}
	if r.flying.Add(1) > int64(r.cfg.ProposalsMax) {
		r.flying.Add(-1)
		done(fsm.Result{}, r.errBusy("propose"))
		return
	}
	if r.bytes.Add(int64(len(cmd))) > r.cfg.BytesMax {
		r.unbook(len(cmd))
		done(fsm.Result{}, r.errBusy("propose"))
		return
	}
	latest := time.Now().Add(r.cfg.Deadline)
	if deadline.IsZero() || deadline.After(latest) {
		deadline = latest
	}
	p := r.pool.Get().(*proposal)
	p.g, p.cmd, p.deadline, p.done = &r.groups[id], cmd, mono.Of(deadline), done
	p.g.admit(p)
}

func (r *Router) unbook(size int) {
	r.flying.Add(-1)
	r.bytes.Add(-int64(size))
}

// answered takes one attempt's answer.
func (p *proposal) answered(token uint64, local bool, res fsm.Result, err error) {
	g := p.g
	g.mu.Lock()
	p.refs--
	if local {
		p.localOut = false
	}
	if p.finished {
		g.unlockAndRecycle(p)
		return
	}
	if err == nil {
		g.succeeded(p)
		g.finish(p, res, nil)
		return
	}
	v := judge(err)
	p.maybe = p.maybe || v == ambiguous
	if token != p.attempt || p.list == &g.waiting {
		g.mu.Unlock() // a newer attempt decides
		return
	}
	if v == final || v == refused && !p.maybe || g.closed {
		if p.maybe {
			err = errUnavailable(true)
		}
		g.finish(p, fsm.Result{}, err)
		return
	}
	first := g.failed(p, err)
	g.mu.Unlock()
	if first {
		g.r.nudge()
	}
}

// finish unlocks the group, answers the caller and recycles p when it can.
func (g *group) finish(p *proposal, res fsm.Result, err error) {
	p.finished = true
	p.list.remove(p)
	done := p.done
	p.done = nil
	size := len(p.cmd)
	drained := g.held && g.flying.head == nil
	g.unlockAndRecycle(p)
	g.r.unbook(size)
	done(res, err)
	if drained {
		g.r.nudge()
	}
}

// unlockAndRecycle gives p back unless an answer is still to come.
func (g *group) unlockAndRecycle(p *proposal) {
	free := p.refs == 0
	if free {
		p.g, p.cmd, p.node, p.maybe, p.finished = nil, nil, "", false, false
	}
	g.mu.Unlock()
	if free {
		g.r.pool.Put(p)
	}
}
