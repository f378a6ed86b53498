package merkle

import (
	"errors"
	"math/bits"
)

// Source gives the hashes of complete subtrees. Proofs of a tree of n leaves ask
// for O(log n) of them, all complete within it.
type Source interface {
	// Node is the hash of the node that covers the leaves
	// [index·2^level, (index+1)·2^level).
	Node(level int, index uint64) (Hash, error)
}

// ErrRange says that a proof was asked for, or given, of an impossible pair of
// index and size.
var ErrRange = errors.New("merkle: index or size out of range")

// RootAt is the root of the first size leaves.
func RootAt(s Source, size uint64) (Hash, error) {
	if size == 0 {
		return Empty(), nil
	}
	return subtree(s, 0, size)
}

// Inclusion is the audit path of RFC 6962 for the leaf index in the tree of the
// first size leaves, from the leaf upwards.
func Inclusion(s Source, index, size uint64) ([]Hash, error) {
	if index >= size {
		return nil, ErrRange
	}
	var path []Hash
	for start, n := uint64(0), size; n > 1; {
		k := split(n)
		other, otherSize := start+k, n-k
		if index-start >= k {
			other, otherSize = start, k
			start, n = start+k, n-k
		} else {
			n = k
		}
		h, err := subtree(s, other, otherSize)
		if err != nil {
			return nil, err
		}
		path = append(path, h)
	}
	reverse(path)
	return path, nil
}

// Consistency is the consistency proof of RFC 6962 between the trees of the
// first old and the first size leaves, 1 ≤ old ≤ size.
func Consistency(s Source, old, size uint64) ([]Hash, error) {
	if old < 1 || old > size {
		return nil, ErrRange
	}
	var proof []Hash
	start, m, n, whole := uint64(0), old, size, true
	for m != n {
		k := split(n)
		other, otherSize := start+k, n-k
		if m > k {
			other, otherSize = start, k
			start, m, n, whole = start+k, m-k, n-k, false
		} else {
			n = k
		}
		h, err := subtree(s, other, otherSize)
		if err != nil {
			return nil, err
		}
		proof = append(proof, h)
	}
	if !whole {
		h, err := subtree(s, start, n)
		if err != nil {
			return nil, err
		}
		proof = append(proof, h)
	}
	reverse(proof)
	return proof, nil
}

// split is the largest power of two below n, for n ≥ 2.
func split(n uint64) uint64 { return 1 << (bits.Len64(n-1) - 1) }

// subtree is the Merkle Tree Hash of the leaves [start, start+n), n ≥ 1, where
// start is a multiple of a power of two not below n.
func subtree(s Source, start, n uint64) (Hash, error) {
	var hashes [LevelsMax]Hash // of the complete parts, the largest first
	parts := 0
	for n > 0 {
		level := bits.Len64(n) - 1
		h, err := s.Node(level, start>>level)
		if err != nil {
			return Hash{}, err
		}
		hashes[parts] = h
		parts++
		start += 1 << level
		n -= 1 << level
	}
	root := hashes[parts-1]
	for i := parts - 2; i >= 0; i-- {
		root = NodeHash(&hashes[i], &root)
	}
	return root, nil
}

func reverse(h []Hash) {
	for i, j := 0, len(h)-1; i < j; i, j = i+1, j-1 {
		h[i], h[j] = h[j], h[i]
	}
}
