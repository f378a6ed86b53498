// Package wire is the client protocol: the frames of the WebSocket and the
// bodies of HTTP, their JSON form in both directions, their limits, and the
// table that says how each error code travels.
//
// It is pure: it reads and writes bytes that others carry. The frames on the
// path of every message (send, ack, entries) are written and read without
// reflection and, escapes in strings aside, without a copy per field.
//
// Invariants:
//
//	W1  Nothing read from outside panics, recurses beyond [DepthMax] or makes
//	    more memory than a small multiple of the input.
//	W2  What an Append function writes, the decoder reads back to the same
//	    value, and encoding/json agrees with both (fuzzed).
//	W3  Every [chat.Code] has one row in the table of faults, and no two rows
//	    share a close code.
//	W4  Unknown fields are skipped, unknown types are told apart from malformed
//	    ones, and a known field given twice is malformed. A field of a
//	    request that is null is not given.
//	W5  An object that is JSON and refused, for whatever reason, is read to its
//	    end: its ref is known, and what follows in the frame is read.
//
// docs/protocol.md describes the same for people; tests hold the two together.
package wire

// Limits of what is read.
const (
	FrameBytesMax   = 512 << 10 // of a client frame
	FrameObjectsMax = 512       // in one array
	DepthMax        = 8         // of nested arrays and objects
	TokenBytesMax   = 8 << 10
	RefMax          = 1<<53 - 1 // also of every number, so that JavaScript can hold it
	HashesMax       = 64        // in the path of a proof
	MembersMax      = 10_000    // in an info
	Version         = 1         // of the protocol
)

// Subprotocol is the name under which a WebSocket carries these frames.
const Subprotocol = "chatnode.v1.json"
