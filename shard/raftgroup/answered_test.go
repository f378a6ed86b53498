package raftgroup

import (
	"context"
	"errors"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/shard"
)

// TestWaitAfterTheEnd: who asks a replica that has stopped to tell when something is
// applied is told that it will not be.
func TestWaitAfterTheEnd(t *testing.T) {
	c := newCluster(t, 1, testConfig())
	c.boot(1)
	c.put(1, "a")
	h := c.nodes[0].host
	gr := h.group(1)
	h.Stop(1)
	var got error
	gr.machine.whenApplied(1<<40, func(err error) { got = err })
	if !errors.Is(got, errStopping) {
		t.Errorf("answered %v, want %v", got, errStopping)
	}
}

// TestReadWhileItEnds: a read asks the voters while the replica is being stopped or
// rebuilt, when its transport has gone.
func TestReadWhileItEnds(t *testing.T) {
	c := newCluster(t, 3, calmConfig())
	c.boot(1)
	c.put(1, "a")
	h := c.leader(1).host
	gr := h.group(1)
	trans := gr.trans.Swap(nil)
	defer gr.trans.Store(trans)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := h.ReadIndex(ctx, 1); !errors.Is(err, errReadLost) {
		t.Errorf("answered %v, want %v", err, errReadLost)
	}
}

// TestLateWordOfALostTerm: the word that an earlier term is lost comes when this replica
// leads again. It leads on, and begins nothing anew: a second barrier in a term is an
// entry that no machine sees, for which a read would wait until the next command.
func TestLateWordOfALostTerm(t *testing.T) {
	c := newCluster(t, 1, testConfig())
	c.boot(1)
	c.put(1, "a")
	gr := c.leader(1).host.group(1)
	lead, last := gr.lead.Load(), gr.raft.Load().LastIndex()
	gr.run.notify <- false
	for range cap(gr.run.notify) + 1 { // when all of them are in, the first has been dealt with
		gr.run.notify <- true
	}
	if now := gr.lead.Load(); now != lead {
		t.Errorf("leads by %+v, before by %+v", now, lead)
	}
	c.put(1, "b")
	if n := gr.raft.Load().LastIndex() - last; n != 1 {
		t.Errorf("%d entries more, want the command's", n)
	}
}

// askedContext tells when it is asked for its end.
type askedContext struct {
	context.Context
	asked func()
}

func (c askedContext) Done() <-chan struct{} {
	c.asked()
	return c.Context.Done()
}

// TestPromoteAfterRemoval: a replica is removed while its promotion waits for its turn.
// It must not come back, and as a voter: its node wipes it.
func TestPromoteAfterRemoval(t *testing.T) {
	c := newCluster(t, 2, calmConfig())
	c.bootWith(1, []Server{{ID: "n1", Voter: true}})
	c.put(1, "a")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	h := c.leader(1).host
	if err := h.AddNonvoter(ctx, 1, "n2"); err != nil {
		t.Fatal(err)
	}
	c.same(1, 1)
	gr := h.group(1)
	eventually(t, "the replica to have caught up", func() bool {
		p := gr.trans.Load().Progress("n2")
		return p.Match >= gr.raft.Load().CommitIndex()
	})
	gr.changing <- struct{}{}
	waits, done := make(chan struct{}, 8), make(chan error, 1)
	go func() {
		done <- h.Promote(askedContext{ctx, func() {
			select {
			case waits <- struct{}{}:
			default:
			}
		}}, 1, "n2")
	}()
	<-waits
	if err := gr.raft.Load().RemoveServer(raft.ServerID("n2"), 0, patience).Error(); err != nil {
		t.Fatal(err)
	}
	<-gr.changing
	if err := <-done; chat.CodeOf(err) != chat.NotMember {
		t.Errorf("promoted: %v", err)
	}
	if v := voters(gr.raft.Load().GetConfiguration().Configuration()); len(v) != 1 || v[0] != shard.NodeID("n1") {
		t.Errorf("voters %v", v)
	}
}
