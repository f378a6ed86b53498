// Package store owns what a node keeps on disk: the log and the stable values
// of all Raft groups, the replicated state of all groups, and the directory
// they live in.
//
// The package root declares [Log] and [GroupLog], which have two
// implementations: store/seglog, one append-only segment log (the default), and
// store/pebblelog, a Pebble. Both pass the suite in store/storetest. [State] is
// the replicated state: rows in memory (store/rowbuf), written as sorted tables
// into a Pebble of its own; [Dir] is the data directory with
// its lock, its identity and the promises its replicas made.
//
// Invariants:
//
//	S1  Log entries of a group have consecutive indexes. An append that would
//	    leave a gap or overwrite an entry is refused.
//	S2  What DurableIndex covers, and every stable value whose Set returned,
//	    survives a power cut. Entries above it may survive it, in order.
//	S3  The state of a group on disk is the result of a prefix of its batches,
//	    with the index and term of the last one; [GroupState.Barrier] makes that
//	    prefix reach the applied index. Log entries are cut only behind a barrier.
//	    A table with rows also has the position that belongs to them, and is
//	    ingested as a whole.
//	S4  An install replaces the whole state of a group or nothing of it.
//	S5  Bytes that come from disk are checked before they are believed. A bad
//	    byte is an error of code corrupt, never a value and never silence.
//	S6  After the first failed write nothing is written again: the failure is
//	    reported once to the owner, who ends the process, and every later call
//	    answers it. A failed fsync is never retried.
//	S7  A view is the state at one applied index: what was in memory then, and
//	    tables that have nothing newer.
//	S8  Rows in memory are bounded: batches wait while there are too many.
//
// Must never happen here: a decision about Raft, and an import of it.
package store
