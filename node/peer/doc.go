// Package peer is how nodes talk to each other about everything but Raft: it is
// the gRPC server and client of the peer port.
//
// Data travels on bidirectional streams of frames, each a batch of items
// ([item]): forwarded proposals with their answers, reads, and the live feed of
// conversations. A stream has at most FramesMax frames unacknowledged in each
// direction, so that under load batches grow by themselves. Control (join,
// status, membership of groups) is unary and rare.
//
// Invariants:
//
//	N1  Each proposal or read that a session accepts is answered exactly once:
//	    by the other node, or with unavailable when its stream ends or falls
//	    silent.
//	N2  Nothing from another node is believed: frames, items and commands are
//	    checked, and a stream names the cluster and both nodes before it carries
//	    anything, so an address that was given to another node does no harm.
//	N3  Queues are bounded: calls and bytes per stream, attachments and bytes per
//	    feed. A full feed marks a gap, a full stream answers busy.
//	N4  A feed tells its receivers of every attachment that ended.
//	N5  A frame's memory is not shared with what outlives its handling, except
//	    the commands of a received frame, which own it.
package peer
