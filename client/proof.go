package client

import (
	"context"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/merkle"
	"github.com/chatnode/chatnode/wire"
)

// Root is the Merkle root over the first Size entries of a conversation. A
// client that keeps one can later have every other root held against it.
type Root struct {
	Size chat.Seq
	Hash chat.Hash
}

// RootOf is the root that an ack states: over everything up to its entry.
func RootOf(a chat.Ack) Root { return Root{Size: a.Seq, Hash: a.Root} }

// VerifyEntry asks for the proof that e is in the tree of trusted and checks it
// against e itself: a node that gives a changed entry is found out. The error
// has the code corrupt when the proof does not hold.
func (c *Client) VerifyEntry(ctx context.Context, e *chat.Entry, trusted Root) error {
	const op = "verify entry"
	r, err := c.do(ctx, op, wire.Request{Type: wire.Proof, Conv: e.Conv, Seq: e.Seq, Size: trusted.Size})
	if err != nil {
		return err
	}
	p := &r.Proof
	if p.Seq != e.Seq || p.Size != trusted.Size || e.Seq < 1 {
		return chat.E(op, chat.Corrupt, "the proof is of another entry or size", nil)
	}
	leaf := chat.LeafHash(e)
	if err := merkle.VerifyInclusion(leaf, uint64(e.Seq-1), uint64(p.Size), p.Path, trusted.Hash); err != nil {
		return chat.E(op, chat.Corrupt, "the entry is not in the tree of that root", err)
	}
	return nil
}

// VerifyGrowth asks for the proof that the tree of trusted is a prefix of the
// present one, checks it, and gives the present root to be trusted next.
func (c *Client) VerifyGrowth(ctx context.Context, conv chat.ConvID, trusted Root) (Root, error) {
	const op = "verify growth"
	r, err := c.do(ctx, op, wire.Request{Type: wire.Proof, Conv: conv, FromSize: trusted.Size})
	if err != nil {
		return Root{}, err
	}
	p := &r.Proof
	if p.FromSize != trusted.Size || p.Size < trusted.Size {
		return Root{}, chat.E(op, chat.Corrupt, "the proof is of other sizes", nil)
	}
	if err := merkle.VerifyConsistency(uint64(trusted.Size), uint64(p.Size), trusted.Hash, p.Root, p.Path); err != nil {
		return Root{}, chat.E(op, chat.Corrupt, "the history was rewritten: the old root is no prefix of the new one", err)
	}
	return Root{Size: p.Size, Hash: p.Root}, nil
}

// Tree follows a conversation from its first entry and knows its root at every
// size, so that acks, infos and other devices can be held against what was
// read. It is not safe for concurrent use.
type Tree struct {
	conv  chat.ConvID
	tree  merkle.Range
	roots [treeRoots]chat.Hash // of the newest sizes, by size modulo treeRoots
}

const treeRoots = 256

// NewTree follows conv.
func NewTree(conv chat.ConvID) *Tree { return &Tree{conv: conv} }

// Add takes the next entry.
func (t *Tree) Add(e *chat.Entry) error {
	if e.Conv != t.conv || uint64(e.Seq) != t.tree.Size()+1 {
		return chat.E("tree", chat.Invalid, "not the next entry of the conversation", nil)
	}
	t.tree.Append(chat.LeafHash(e))
	t.roots[uint64(e.Seq)%treeRoots] = t.tree.Root()
	return nil
}

// Root is the root over everything added.
func (t *Tree) Root() Root { return Root{Size: chat.Seq(t.tree.Size()), Hash: t.tree.Root()} }

// Check holds a root against the tree. It answers corrupt for another history,
// and behind when the size is not among the newest 256 that were added.
func (t *Tree) Check(r Root) error {
	size := t.tree.Size()
	if uint64(r.Size) > size || uint64(r.Size)+treeRoots <= size || r.Size == 0 {
		return chat.E("tree", chat.Behind, "that size is not at hand", nil)
	}
	if t.roots[uint64(r.Size)%treeRoots] != r.Hash {
		return chat.E("tree", chat.Corrupt, "the history differs from the one read", nil)
	}
	return nil
}
