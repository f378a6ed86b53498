package merkle

import (
	"crypto/sha256"
	"math/bits"
)

// Hash is a SHA-256 value.
type Hash = [32]byte

// LevelsMax bounds the levels of a tree whose size is a uint64.
const LevelsMax = 64

// NodeHash is the hash of an interior node: SHA-256(0x01 ‖ left ‖ right).
func NodeHash(left, right *Hash) Hash {
	var b [65]byte
	b[0] = 1
	copy(b[1:], left[:])
	copy(b[33:], right[:])
	return sha256.Sum256(b[:])
}

// Empty is the root of no leaves, SHA-256 of nothing.
func Empty() Hash { return sha256.Sum256(nil) }

// Range is the mountain range of a tree. The zero value is the empty tree.
type Range struct {
	size  uint64
	peaks []Hash // of the set bits of size, the largest first
}

// Restore makes the range of a tree of the given size from its peaks, the
// largest first. ok is false when their number does not fit the size.
func Restore(size uint64, peaks []Hash) (r Range, ok bool) {
	if len(peaks) != bits.OnesCount64(size) {
		return Range{}, false
	}
	return Range{size: size, peaks: append(make([]Hash, 0, len(peaks)+4), peaks...)}, true
}

// Size is the number of leaves.
func (r *Range) Size() uint64 { return r.size }

// Peaks are the roots of the complete subtrees, the largest first. The slice is
// valid until the next Append.
func (r *Range) Peaks() []Hash { return r.peaks }

// Append appends a leaf.
func (r *Range) Append(leaf Hash) { r.AppendNodes(leaf, LevelsMax, nil) }

// AppendNodes appends a leaf, and to nodes the hashes of the nodes that it
// completed from level from upwards: those of the levels from..TrailingZeros of
// the new size, the lowest first.
func (r *Range) AppendNodes(leaf Hash, from int, nodes []Hash) []Hash {
	merges := bits.TrailingZeros64(^r.size)
	if from == 0 {
		nodes = append(nodes, leaf)
	}
	for level := 1; level <= merges; level++ {
		last := len(r.peaks) - 1
		leaf = NodeHash(&r.peaks[last], &leaf)
		r.peaks = r.peaks[:last]
		if level >= from {
			nodes = append(nodes, leaf)
		}
	}
	r.peaks = append(r.peaks, leaf)
	r.size++
	return nodes
}

// Root is the Merkle Tree Hash of the leaves so far.
func (r *Range) Root() Hash {
	if r.size == 0 {
		return Empty()
	}
	root := r.peaks[len(r.peaks)-1]
	for i := len(r.peaks) - 2; i >= 0; i-- {
		root = NodeHash(&r.peaks[i], &root)
	}
	return root
}
