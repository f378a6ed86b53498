// Package raftgroup runs many Raft groups in one process: the node's replicas
// of them, on one log, one state and one connection to each other node. It is
// alone in knowing hashicorp/raft.
//
// A [Host] proposes commands, tells when a local read is linearizable, moves
// leaderships and changes memberships. It decides nothing about placement.
//
// Invariants:
//
//	R1  A proposal is acknowledged only when its entry is durable on the leader
//	    and on a quorum, and applied (docs/adr/0002).
//	R2  An error of a proposal either says that it is in no log, or wraps
//	    [ErrAmbiguous].
//	R3  A group applies each entry once, in order, in one transaction with its
//	    index. An entry that cannot be applied ends the process by Deps.Fatal.
//	R4  Duties of a leader (sink, proposals, reads) begin when an entry of its
//	    own term is applied here, and end when leadership is lost.
//	R5  A read is confirmed by a quorum round that began after it was asked for.
//	R6  Log entries are cut only when the state that contains them is durable.
//	R7  After the first failed write nothing is acknowledged any more.
//
// The order of locks: Host.mu, group.life, then any one of Host.watch, proposer.mu, readers.mu,
// machine.mu, logSize.mu; none of these four is held while another is taken.
package raftgroup
