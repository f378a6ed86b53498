// Package conv is the conversation machine: the rules by which entries are
// appended to conversations and by which members read them.
//
// It owns the rows of area [fsm.AreaConv] (docs/format.md gives every byte) and
// the meaning of the conversation commands. It must never read a clock, draw a
// random number, start a goroutine or let the order of a map reach a row or a
// result.
//
// Invariants:
//
//	V1  The entries of a conversation have the sequence numbers 1, 2, 3, …; the
//	    entry rows are the truth, everything else but the refusals can be
//	    rebuilt from them or is written in the same transaction as the entry
//	    that changed it.
//	V2  Times of entries never decrease; msg_no counts messages.
//	V3  What is written is a function of the log alone, never of the cache: two
//	    replicas at the same index hold the same bytes behind the group prefix.
//	V4  (sender, client id) is in a conversation at most once within the memory
//	    of ids, and an id that may have been forgotten is refused.
//	V5  An entry is visible to a user iff its seq is within one of the user's
//	    intervals [joined, left].
//	V6  The Merkle root of size n is that of RFC 6962 over the leaves 1..n.
//	V7  A refused command appends nothing. Where the state refused it, not the
//	    command itself, the refusal is kept, and each later attempt under the
//	    same client id gets the same answer, for the newest [RefusalsMax] of a
//	    user and [RefusersMax] users of a conversation.
package conv
