// Package session is one device's conversation with the service, without a
// transport: logging in, the pipeline of sends, subscriptions with a cursor
// each, reads, and the bounded queue of what goes out.
//
// A transport feeds [Session.Receive] with frames and takes what it may write
// from the session, as many as it has credit for. Everything else (the log,
// the live tail) is reached through interfaces declared here.
//
// Invariants:
//
//	S1  A subscription hands out the entries that its user may read in
//	    ascending order, each once, none left out, whatever is lost on the way
//	    of the live tail: what the tail does not give is read from the log.
//	S2  Nothing of a conversation goes out after the entry that removes its
//	    user, until a subscription is made anew.
//	S3  The queue holds at most QueueBytesMax and one frame; entries are never
//	    queued beyond it but fetched when there is room.
//	S4  Sends of one session to one conversation are proposed in the order in
//	    which they came, each naming the one before it while that one is
//	    unanswered. A send that is refused here is a link like any other: its
//	    error counts as unanswered until it has been handed to the connection.
//	S5  Every request is answered exactly once, unless the session ends first.
//	S6  A read that waits for a quorum or another node holds up no other one. Of
//	    each lane (requests, stale requests, first tries and further tries of
//	    subscriptions) at most ReadersMax reads run, not counting requests that
//	    have waited for LendWait, of which there are at most RequestsMax.
package session
