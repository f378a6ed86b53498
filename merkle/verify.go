package merkle

import "errors"

// ErrProof says that a proof does not show what it should.
var ErrProof = errors.New("merkle: the proof does not hold")

// VerifyInclusion checks that leaf is the leaf number index of the tree of size
// leaves with the given root (RFC 9162, section 2.1.3.2).
func VerifyInclusion(leaf Hash, index, size uint64, path []Hash, root Hash) error {
	if index >= size {
		return ErrRange
	}
	fn, sn, got := index, size-1, leaf
	for i := range path {
		if sn == 0 {
			return ErrProof
		}
		if fn&1 == 1 || fn == sn {
			got = NodeHash(&path[i], &got)
			for fn&1 == 0 && fn != 0 {
				fn, sn = fn>>1, sn>>1
			}
		} else {
			got = NodeHash(&got, &path[i])
		}
		fn, sn = fn>>1, sn>>1
	}
	if sn != 0 || got != root {
		return ErrProof
	}
	return nil
}

// VerifyConsistency checks that the tree of old leaves with root oldRoot is a
// prefix of the tree of size leaves with the given root (RFC 9162, section
// 2.1.4.2).
func VerifyConsistency(old, size uint64, oldRoot, root Hash, proof []Hash) error {
	if old < 1 || old > size {
		return ErrRange
	}
	if old == size {
		if len(proof) != 0 || oldRoot != root {
			return ErrProof
		}
		return nil
	}
	if old&(old-1) == 0 { // a complete subtree: its root is the proof's first node
		proof = append([]Hash{oldRoot}, proof...)
	}
	if len(proof) == 0 {
		return ErrProof
	}
	fn, sn := old-1, size-1
	for fn&1 == 1 {
		fn, sn = fn>>1, sn>>1
	}
	first, second := proof[0], proof[0]
	for i := range proof[1:] {
		c := &proof[i+1]
		if sn == 0 {
			return ErrProof
		}
		if fn&1 == 1 || fn == sn {
			first, second = NodeHash(c, &first), NodeHash(c, &second)
			for fn&1 == 0 && fn != 0 {
				fn, sn = fn>>1, sn>>1
			}
		} else {
			second = NodeHash(&second, c)
		}
		fn, sn = fn>>1, sn>>1
	}
	if sn != 0 || first != oldRoot || second != root {
		return ErrProof
	}
	return nil
}
