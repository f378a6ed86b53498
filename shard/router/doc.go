// Package router brings every request to the replica that can serve it: key →
// slot → group → leader, here or on another node.
//
// It owns the knowledge of who leads what, the retrying of proposals over
// leader changes, and the reading of conversations through a linearizable
// round. It reaches Raft through [Local] and other nodes through [Remote].
//
// Invariants:
//
//	R1  done of a proposal is called exactly once, at the latest a sweep after
//	    its deadline.
//	R2  A proposal is repeated with the same bytes only. Its answer is a
//	    refusal of this package (busy, disk_full, …) only when no attempt can
//	    have been appended; else it is unavailable, which says so.
//	R3  Proposals of one group are sent, and sent again, in the order in which
//	    they came, as far as one node can know: while some wait for a leader,
//	    newer ones wait behind them. What must hold is decided at apply, by
//	    `after`.
//	R4  In flight and waiting together stay within ProposalsMax and BytesMax,
//	    reads within ReadsMax; beyond comes busy.
//	R5  A proposal costs no goroutine and no timer: one keeper per router
//	    sweeps deadlines, notices new leaders and sends what waits.
//	R6  A request that came from another node is served here or refused; it is
//	    never forwarded a second time.
//
// Order of locks: group.mu alone. done, Local and Remote are never called with
// it held.
package router
