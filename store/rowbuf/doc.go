// Package rowbuf keeps the newest rows of one group's state in memory until they
// are written to a table.
//
// It is made for the access pattern of chat: most new keys are the next of their
// conversation, conversations come in random order, and what is read is a single
// key or the end of a conversation. So a row costs a link to the row before it of
// the same chain and no search. A chain is all keys that agree in their first
// [ChainBytes] bytes; the entries of a conversation are one. Only the keys of chains
// that are out of order cost an entry in a hash index besides.
//
// Invariants:
//
//	R1  Rows are only ever added. The place of a row ([Mark]) rises with every
//	    one, so that a mark is a snapshot: a reader at a mark sees the rows before
//	    it, whatever is added later, and nothing is copied for it.
//	R2  The first version of a key is a position of its chain and has the links;
//	    later versions hang behind it, newest first, and are no positions.
//	R3  A chain is in the order of keys up to its mark "unordered"; a reader at or
//	    before that mark searches it, one behind it sorts what it finds. A chain
//	    that has the mark has all its positions in the index, any other none.
//	R4  Keys and values never change in memory and stay where they are: they may be
//	    read without the lock and for as long as someone points to them.
//
// One goroutine adds, any number reads. All keys of a buffer agree in their first
// sharedBytes bytes. Memory is chunks without pointers, which the garbage
// collector does not look into.
package rowbuf
