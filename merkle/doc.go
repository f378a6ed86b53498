// Package merkle is the append-only Merkle tree of RFC 6962 (section 2.1) over
// hashes of leaves: roots, inclusion proofs and consistency proofs, and their
// verification, which is all that a client needs.
//
// A tree of n leaves is kept as its mountain range: the roots of the complete
// subtrees that the binary form of n names, at most 64 hashes. Appending a leaf
// merges equal neighbours; the root folds them from the right.
//
// Invariants:
//
//	M1  Range.Root of n leaves equals the Merkle Tree Hash of RFC 6962.
//	M2  A node (level, index) covers the leaves [index·2^level, (index+1)·2^level)
//	    and never changes once they are all there.
//	M3  Verification accepts exactly the one proof of the RFC for its arguments:
//	    too short, too long or other hashes are refused.
//
// The hash of a leaf is the caller's ([NodeHash] starts with 0x01, so a leaf's
// must start with 0x00). The package allocates no tree and does no I/O.
package merkle
