// Package transport carries the Raft messages of all groups between nodes: one
// TCP connection per pair of nodes and direction, and one more per snapshot.
//
// A [Hub] belongs to a node. A [Group] is one group's raft.Transport on it, with
// pre-vote and pipelining. Servers are addressed by their node id; where a node
// listens is asked of the owner at every dial.
//
// Invariants:
//
//	T1  A success answer to AppendEntries leaves a follower only when its own log
//	    is durable up to the entries it acknowledges, and reaches Raft at the
//	    leader only when the leader's log is, too (docs/adr/0002).
//	T2  A failed exchange never enters a pipeline's Consumer: Raft would take it
//	    for contact with the peer.
//	T3  Every frame is bounded and checked before it is believed. What does not
//	    hold ends the connection, never the process.
//	T4  A read loop serves all groups, so nothing that it calls waits for a disk
//	    or for a group.
//	T5  A connection belongs to one cluster and names both its ends; others are
//	    refused with a typed answer.
//
// The order of locks is Group.mu, pipeline.mu, peer.mu, then link.mu or Hub.mu.
package transport
