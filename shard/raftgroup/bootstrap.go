package raftgroup

import (
	"errors"
	"fmt"
	"slices"

	"github.com/hashicorp/raft"

	"github.com/chatnode/chatnode/shard"
	"github.com/chatnode/chatnode/store"
)

// bootstrapTerm is the term of a group's first entry. Every election has a later
// one, so a log that still is at it has seen nothing but its bootstrap.
const bootstrapTerm = 1

// configuration is servers as Raft has them. This node has to be a voter.
func configuration(self shard.NodeID, servers []Server) (c raft.Configuration, err error) {
	for i, s := range servers {
		if s.ID == "" || slices.ContainsFunc(servers[:i], func(o Server) bool { return o.ID == s.ID }) {
			return c, fmt.Errorf("bootstrap: the node id %q is empty or doubled", s.ID)
		}
		suffrage := raft.Nonvoter
		if s.Voter {
			suffrage = raft.Voter
		}
		c.Servers = append(c.Servers, raft.Server{Suffrage: suffrage, ID: raft.ServerID(s.ID), Address: raft.ServerAddress(s.ID)})
	}
	if !hasVoter(c, raft.ServerID(self)) {
		return c, errors.New("bootstrap: this node has to be one of the voters")
	}
	return c, nil
}

// bootstrapGroup writes the first entry of a new group, and nothing to a group that
// has begun.
func bootstrapGroup(h *Host, id shard.GroupID, servers []Server) error {
	c, err := configuration(h.deps.NodeID, servers)
	if err != nil {
		return err
	}
	log, closeLog, err := h.openLog(id)
	if err != nil {
		return err
	}
	state, err := h.deps.State.Group(id)
	if err != nil {
		return errors.Join(err, closeLog())
	}
	g := &group{host: h, id: id, log: h.log}
	g.logs = newLogStore(log, h.deps.NodeID, h.fatal.fail)
	g.logs.replica = g.raft.Load
	g.logs.voter = g.promiseVoter
	g.logs.truncated = func(uint64) {}
	return errors.Join(g.bootstrap(c, state), closeLog())
}

// bootstrap writes term, promise and entry, each durable before the next, as far
// as a bootstrap that a crash has ended did not: raft.BootstrapCluster would refuse
// to go on after the term, and the group would have no voter for ever. A log that is
// not the promised one, or has less than was promised, is refused before that.
func (g *group) bootstrap(c raft.Configuration, state *store.GroupState) error {
	promise, err := g.checkMark()
	if err != nil {
		return err
	}
	term, err := stableNumber(g.logs.log, termKey)
	if err != nil {
		return err
	}
	applied, _ := state.Applied()
	last := max(g.logs.log.LastIndex(), applied)
	if g.host.deps.Promises != nil {
		if err := promise.Check(term, last); err != nil {
			return err
		}
	}
	if last > 0 || term > bootstrapTerm {
		return nil
	}
	if term == 0 {
		if err := g.logs.SetUint64(termKey, bootstrapTerm); err != nil {
			return err
		}
	}
	err = g.logs.StoreLog(&raft.Log{
		Index: 1, Term: bootstrapTerm, Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(c),
	})
	if err != nil {
		return fmt.Errorf("bootstrap group %d: %w", g.id, err)
	}
	return nil
}
