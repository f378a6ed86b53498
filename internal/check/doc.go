// Package check decides from a recorded history whether the service kept its
// promises. It owns the history format and the checkers, and knows nothing of
// how a history came about: it imports no other package of the project, so that
// a fault in the service's own nouns cannot hide itself here.
//
// The service reveals its total order: every entry carries its number. So the
// final log of a conversation, equal on every replica, is the linearization of
// its appends, and one sweep in O(n log n) checks everything that is left:
//
//	K1  dense: the log is numbered 1, 2, 3, …, its time never goes back.
//	K2  replicas: every replica holds the same log, the same Merkle root and
//	    the same state hash.
//	K3  lost, ack, body: what was acknowledged is where the acknowledgement
//	    said, with the bytes that were sent, under the root that was given.
//	K4  doubled: one client id of one sender is in the log at most once.
//	K5  phantom, refused: nothing is in the log that nobody sent, or whose
//	    sender was told that it had no effect.
//	K6  order: what one device sent to a conversation keeps its order.
//	K7  realtime, stale, future: appends and default reads are linearizable; a
//	    read marked stale is still a prefix of the log.
//	K8  gap, repeat: a subscriber sees every visible entry once, in order; a page
//	    shows all that it was asked for.
//	K9  leak, intruder, denied: who is no member reads nothing and appends
//	    nothing; who is one is not turned away.
//
// [Sweep] is that check. [Porcupine] gives a second opinion by a general
// linearizability checker on a bounded sample; it uses no sequence number that
// was not part of an answer.
//
// An operation whose outcome is unknown may have happened or not, at any time
// after its call. It proves nothing by itself, but if its entry is in the log it
// has to fit K1 to K9 like any other.
package check
