// Package seglog is the segment log: one append-only log for all Raft groups of
// a node, which shares one fsync among whatever the groups have waiting.
//
// Appends of all groups go, in order, into blocks in memory. One goroutine
// writes the blocks that have gathered and syncs once; while it does, the next
// ones gather. A segment file is preallocated with written zeros, or re-used,
// so that a sync writes data and no metadata of the file system. Segments in
// which no entry lives are re-used; what a slow group still has in an old one
// is copied forward.
//
// Invariants:
//
//	L1  Block numbers rise along the log. A block says up to which number
//	    blocks were durable when it was closed.
//	L2  A bad block is the torn end of the log only if no block anywhere says
//	    that it was durable. Otherwise bytes were damaged and Open refuses.
//	L3  A segment begins with a checkpoint of everything but the entries, so
//	    any segment without a live entry can go as soon as the next
//	    checkpoint and the records that made its entries dead are durable.
//	L4  Checksums are seeded with a random number of the segment's present
//	    use: what its earlier use left behind is never taken for content.
//	L5  Bytes handed to the writer never change again; readers share them.
//
// Locks: one mutex guards everything in memory. It is never held during I/O.
package seglog
