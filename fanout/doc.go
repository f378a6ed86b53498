// Package fanout brings committed entries from the node that leads a
// conversation to the sessions that have it open.
//
// It has two halves. The [Bus] sits where entries are applied: it takes the
// events of the groups that this node leads and gives each to the receivers
// attached to its conversation, which are this node's own hub and other nodes'
// streams. The [Hub] sits where clients are connected: it knows which sessions
// have which conversation open, stays attached to each such conversation's
// leader, turns every entry to JSON once for all of them, and keeps a short
// tail from which sessions take what they have not sent yet.
//
// Invariants:
//
//	F1  The bus never blocks who applies: its ring is bounded, and what it
//	    drops it marks as a gap in the conversations it belonged to.
//	F2  The tail of a conversation is contiguous: an entry is appended only as
//	    last+1, a smaller one is dropped, a larger one makes the hub read what
//	    lies between.
//	F3  The hub trusts the feed for speed only. After every attach, and after
//	    every gap, it reads the head once, so that nothing appended while it
//	    was not attached stays unseen.
//	F4  A conversation is attached while at least one session has it open, once.
package fanout
