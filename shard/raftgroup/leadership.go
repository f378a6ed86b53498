package raftgroup

import (
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/chatnode/chatnode/shard"
)

// leadership is a term in which this replica leads and is ready.
type leadership struct {
	term    uint64
	barrier uint64 // index of the own term's first applied entry
}

// tenure follows the leadership of one Raft object, in one goroutine.
type tenure struct {
	g      *group
	notify chan bool
	events chan raft.Observation
	ready  chan leadership
	quit   chan struct{}
	wg     sync.WaitGroup

	term   uint64 // in which this replica leads as far as was noticed, 0 when not
	leader shard.NodeID
}

func newTenure(g *group) *tenure {
	return &tenure{
		g:      g,
		notify: make(chan bool, 16),
		events: make(chan raft.Observation, 16),
		ready:  make(chan leadership, 1),
		quit:   make(chan struct{}),
	}
}

func (t *tenure) start(r *raft.Raft) {
	r.RegisterObserver(raft.NewObserver(t.events, false, func(o *raft.Observation) bool {
		_, ok := o.Data.(raft.LeaderObservation)
		return ok
	}))
	t.wg.Go(func() { t.run(r) })
}

// stop waits for the goroutine; Raft has stopped before.
func (t *tenure) stop() {
	close(t.quit)
	t.wg.Wait()
}

func (t *tenure) run(r *raft.Raft) {
	for {
		select {
		case <-t.quit:
			t.lost()
			return
		case <-t.notify: // it may be late: what Raft says now counts
		case <-t.events:
		case <-t.g.look:
		case l := <-t.ready:
			t.begin(r, l)
		}
		t.look(r)
	}
}

// look compares what Raft says with what was noticed.
func (t *tenure) look(r *raft.Raft) {
	term := uint64(0)
	if r.State() == raft.Leader {
		term = r.CurrentTerm()
	}
	if t.term != 0 && term != t.term {
		t.lost()
	}
	if term != 0 && t.term == 0 {
		t.won(r, term)
	}
	if id := t.g.leader(); id != t.leader {
		t.leader = id
		t.g.host.tell(Change{Group: t.g.id, Leader: id, Term: r.CurrentTerm(), Local: t.g.leads()})
	}
}

// won begins the duties once an entry of the own term is applied.
func (t *tenure) won(r *raft.Raft, term uint64) {
	t.term = term
	t.g.trans.Load().ResetProgress()
	t.g.proposer.admit()
	t.wg.Go(func() { t.barrier(r, term) })
}

func (t *tenure) barrier(r *raft.Raft, term uint64) {
	gone := *t.g.gone.Load() // of r: a tenure ends before its Raft is replaced
	for {
		f := endWith(r.Barrier(0), gone)
		err := f.Error()
		if err == nil {
			if i, ok := f.(raft.IndexFuture); ok {
				select {
				case t.ready <- leadership{term: term, barrier: i.Index()}:
				case <-t.quit:
				}
			}
			return
		}
		if r.State() != raft.Leader || r.CurrentTerm() != term {
			return
		}
		select { // a transfer is in progress
		case <-t.quit:
			return
		case <-time.After(t.g.host.cfg.Heartbeat / 10):
		}
	}
}

// begin starts the duties. The sink is attached before anyone learns of it, so
// that no entry is applied in between unseen.
func (t *tenure) begin(r *raft.Raft, l leadership) {
	if t.term != l.term || r.State() != raft.Leader || r.CurrentTerm() != l.term {
		return
	}
	g := t.g
	g.machine.attach(g.host.sinkOf(g.id))
	g.lead.Store(&l)
	g.proposer.begin()
	g.log.Info("leading", "term", l.term)
	if m := g.host.deps.Metrics.Led; m != nil {
		m(g.id, l.term)
	}
	t.leader = g.leader()
	g.host.tell(Change{Group: g.id, Leader: t.leader, Term: l.term, Local: true})
}

// lost ends the duties.
func (t *tenure) lost() {
	if t.term == 0 {
		return
	}
	t.term = 0
	g := t.g
	was := g.lead.Swap(nil)
	g.proposer.refuse(errNotLeader)
	g.readers.expire(0, true)
	if was == nil {
		return
	}
	g.machine.attach(nil)
	g.log.Info("no longer leading", "term", was.term)
	if m := g.host.deps.Metrics.Lost; m != nil {
		m(g.id)
	}
	t.leader = g.leader()
	g.host.tell(Change{Group: g.id, Leader: t.leader, Term: was.term, Local: false})
}

// leads reports whether the replica leads and is ready.
func (g *group) leads() bool {
	l, r := g.lead.Load(), g.raft.Load()
	return l != nil && r != nil && r.State() == raft.Leader && r.CurrentTerm() == l.term
}

// leader is whom the replica takes for the leader.
func (g *group) leader() shard.NodeID {
	r := g.raft.Load()
	if r == nil {
		return ""
	}
	_, id := r.LeaderWithID()
	return shard.NodeID(id)
}

// reattach gives the machine the sink that is set now.
func (g *group) reattach() {
	if g.lead.Load() == nil {
		return
	}
	g.machine.attach(g.host.sinkOf(g.id))
	if g.lead.Load() == nil { // lost meanwhile
		g.machine.attach(nil)
	}
}
