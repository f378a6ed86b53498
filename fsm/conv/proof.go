package conv

import (
	"encoding/binary"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/internal/invariant"
	"github.com/chatnode/chatnode/merkle"
)

const opProof = "proof"

// nodeSource gives the Merkle nodes of a conversation: from level nodeLevel on
// they are stored with the entry that completed them, the lower ones are
// computed from the entries. It keeps the leaves of the blocks that it read, of
// which a proof touches at most three.
type nodeSource struct {
	r      fsm.Reader
	prefix *prefix
	conv   chat.ConvID
	size   chat.Seq // the head

	blocks  []block
	scratch leafScratch
}

type block struct {
	index  uint64
	leaves []merkle.Hash
}

// Node implements [merkle.Source].
func (s *nodeSource) Node(level int, index uint64) (merkle.Hash, error) {
	if last := (index + 1) << level; last > uint64(s.size) {
		return merkle.Hash{}, invariant.Broken("a proof asks for complete nodes", "conv", s.conv, "level", level, "index", index, "size", s.size)
	}
	if level >= nodeLevel {
		seq := chat.Seq((index + 1) << level)
		_, cp, err := readEntry(s.r, s.prefix, seq)
		if err != nil {
			return merkle.Hash{}, err
		}
		if level-nodeLevel >= len(cp.nodes) {
			return merkle.Hash{}, invariant.Broken("a checkpoint holds the nodes it completed", "conv", s.conv, "seq", seq, "level", level)
		}
		return cp.nodes[level-nodeLevel], nil
	}
	first := index << level
	leaves, err := s.block(first >> nodeLevel)
	if err != nil {
		return merkle.Hash{}, err
	}
	at := int(first & (checkpointEvery - 1))
	if at+1<<level > len(leaves) {
		return merkle.Hash{}, invariant.Broken("entries below the head are there", "conv", s.conv, "leaf", first)
	}
	return fold(leaves[at : at+1<<level]), nil
}

// fold is the root of a complete subtree of up to half a block.
func fold(leaves []merkle.Hash) merkle.Hash {
	var r merkle.Range
	for _, l := range leaves {
		r.Append(l)
	}
	return r.Root()
}

// block computes the leaves of one block of checkpointEvery entries.
func (s *nodeSource) block(index uint64) ([]merkle.Hash, error) {
	for i := range s.blocks {
		if s.blocks[i].index == index {
			return s.blocks[i].leaves, nil
		}
	}
	first := chat.Seq(index<<nodeLevel) + 1
	leaves := make([]merkle.Hash, 0, checkpointEvery)
	var a, b [prefixBytes + 9]byte
	lower, upper := s.prefix.appendEntry(a[:0], first), s.prefix.appendEntry(b[:0], first+checkpointEvery)
	err := s.r.Scan(lower, upper, false, func(k, val []byte) (bool, error) {
		seq, _, c, err := openEntry(k, val)
		if err != nil {
			return false, err
		}
		v := parseEntry(&c)
		if c.bad || seq != first+chat.Seq(len(leaves)) {
			return false, corrupt(opRow, "the row of an entry is malformed")
		}
		leaves = append(leaves, s.scratch.hash(string(s.conv), seq, &v))
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	s.blocks = append(s.blocks, block{index, leaves})
	return leaves, nil
}

// ReadProof makes proofs in O(log n) reads. Sizes and entries beyond what the
// reader may see are invalid.
func ReadProof(r fsm.Reader, group uint32, q ProofQuery) (Proof, error) {
	in, err := open(opProof, r, group, q.Conv, q.User, q.All)
	if err != nil {
		return Proof{}, err
	}
	head, err := in.visibleHead()
	if err != nil {
		return Proof{}, err
	}
	p := Proof{Conv: in.row.id, Size: q.Size, Seq: q.Seq, OldSize: q.OldSize}
	if p.Size == 0 {
		p.Size = head.Seq
	}
	switch {
	case p.Size > head.Seq:
		return Proof{}, chat.E(opProof, chat.Invalid, "the size is beyond the newest entry", nil)
	case q.Seq > p.Size || (q.Seq != 0 && !in.see.Sees(q.Seq)):
		return Proof{}, chat.E(opProof, chat.Invalid, "the entry is not in the tree of this size, or not yours to see", nil)
	case q.OldSize > p.Size:
		return Proof{}, chat.E(opProof, chat.Invalid, "the old size is above the size", nil)
	}
	s := nodeSource{r: r, prefix: &in.prefix, conv: in.row.id, size: in.head.Seq}
	return p, p.make(&s)
}

func (p *Proof) make(s *nodeSource) (err error) {
	if p.Root, err = merkle.RootAt(s, uint64(p.Size)); err != nil {
		return err
	}
	if p.Seq != 0 {
		if p.Leaf, err = s.Node(0, uint64(p.Seq-1)); err != nil {
			return err
		}
		if p.Inclusion, err = merkle.Inclusion(s, uint64(p.Seq-1), uint64(p.Size)); err != nil {
			return err
		}
	}
	if p.OldSize != 0 {
		if p.OldRoot, err = merkle.RootAt(s, uint64(p.OldSize)); err != nil {
			return err
		}
		p.Consistency, err = merkle.Consistency(s, uint64(p.OldSize), uint64(p.Size))
	}
	return err
}

// Append appends the encoded proof to dst.
func (p *Proof) Append(dst []byte) []byte {
	dst = appendStr8(dst, p.Conv)
	for _, n := range [...]chat.Seq{p.Size, p.Seq, p.OldSize} {
		dst = binary.AppendUvarint(dst, uint64(n))
	}
	for _, h := range [...]*chat.Hash{&p.Root, &p.Leaf, &p.OldRoot} {
		dst = append(dst, h[:]...)
	}
	for _, list := range [...][]chat.Hash{p.Inclusion, p.Consistency} {
		dst = append(dst, byte(len(list)))
		for i := range list {
			dst = append(dst, list[i][:]...)
		}
	}
	return dst
}

// DecodeProof decodes what [Proof.Append] appended.
func DecodeProof(b []byte) (Proof, error) {
	c := cursor[[]byte]{b: b}
	p := Proof{Conv: chat.ConvID(c.str8())}
	p.Size, p.Seq, p.OldSize = chat.Seq(c.uvarint()), chat.Seq(c.uvarint()), chat.Seq(c.uvarint())
	for _, h := range [...]*chat.Hash{&p.Root, &p.Leaf, &p.OldRoot} {
		copy(h[:], c.take(len(h)))
	}
	for _, list := range [...]*[]chat.Hash{&p.Inclusion, &p.Consistency} {
		n := int(c.u8())
		raw := c.take(n * len(chat.Hash{}))
		for i := 0; i < n && !c.bad && n <= merkle.LevelsMax+1; i++ {
			*list = append(*list, chat.Hash(raw[i*len(chat.Hash{}):]))
		}
		if n > merkle.LevelsMax+1 {
			c.bad = true
		}
	}
	if c.bad || len(c.b) != 0 {
		return Proof{}, corrupt(opProof, "a proof is malformed")
	}
	return p, nil
}
