// Package chat holds the nouns of the service: ids, sequence numbers, entries,
// roles and error codes. Every other package speaks in them.
//
// It imports the standard library only, does no I/O and owns no policy: limits
// are stated here as numbers and enforced where a command is applied.
//
// Invariants of the nouns:
//
//	C1  Seq starts at 1 and is dense within a conversation.
//	C2  MsgNo counts the entries of type Message up to and including an entry.
//	C3  A Code, once released, keeps its text and its meaning.
package chat
