package router

import (
	"encoding/json"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/fsm/conv"
	"github.com/chatnode/chatnode/fsm/meta"
	"github.com/chatnode/chatnode/shard"
	"github.com/chatnode/chatnode/wire"
)

// Answer is what a read gives: the field of the request's kind is set.
type Answer struct {
	Page    conv.Page
	Head    conv.HeadInfo
	Info    chat.Info
	Proof   conv.Proof
	Access  conv.Access
	Members []chat.Member
	Map     *shard.Map
}

func (q *Request) page() conv.Query {
	return conv.Query{Conv: q.Conv, User: q.User, All: q.All, Mode: q.Mode, Seq: q.Seq, Limit: q.Limit, Bytes: q.Bytes}
}

func (q *Request) proof() conv.ProofQuery {
	return conv.ProofQuery{Conv: q.Conv, User: q.User, All: q.All, Size: q.Size, Seq: q.Seq, OldSize: q.OldSize}
}

// execute reads from a view.
func execute(r fsm.Reader, g shard.GroupID, q *Request) (a Answer, err error) {
	if err := reached(r, g, q); err != nil {
		return a, err
	}
	id := uint32(g)
	switch q.Kind {
	case ReadPage:
		a.Page, err = conv.ReadPage(r, id, q.page())
	case ReadHead:
		a.Head, err = conv.ReadHead(r, id, q.Conv)
	case ReadInfo:
		a.Info, err = conv.ReadInfo(r, id, q.Conv, q.User)
	case ReadProof:
		a.Proof, err = conv.ReadProof(r, id, q.proof())
		err = lagging(r, g, q, err)
	case ReadAccess:
		a.Access, err = conv.ReadAccess(r, id, q.Conv, q.User)
	case ReadMembers:
		a.Members, err = conv.ReadMembers(r, id, q.Conv, q.User, q.AfterUser, q.Limit)
	case ReadMap:
		a.Map, err = readMap(r, g)
	default:
		err = errRequest
	}
	return a, err
}

// appendAnswer reads from a view and encodes the answer for another node.
// Pages go as they are stored; access, heads and lists of members are rare and
// small, and go as JSON.
func appendAnswer(dst []byte, r fsm.Reader, g shard.GroupID, q *Request) ([]byte, error) {
	if q.Kind == ReadPage {
		if err := reached(r, g, q); err != nil {
			return dst, err
		}
		return conv.AppendPage(dst, r, uint32(g), q.page())
	}
	a, err := execute(r, g, q)
	if err != nil {
		return dst, err
	}
	switch q.Kind {
	case ReadMap:
		return a.Map.Append(dst), nil
	case ReadInfo:
		return conv.AppendInfo(dst, &a.Info), nil
	case ReadProof:
		return a.Proof.Append(dst), nil
	}
	b, err := json.Marshal(a.part(q.Kind))
	return append(dst, b...), err
}

// part is the field of a kind that is encoded as JSON.
func (a *Answer) part(k Kind) any {
	switch k {
	case ReadHead:
		return &a.Head
	case ReadAccess:
		return &a.Access
	default:
		return &a.Members
	}
}

// decodeAnswer reads what appendAnswer wrote.
func decodeAnswer(k Kind, b []byte) (a Answer, err error) {
	switch k {
	case ReadPage:
		a.Page, err = conv.DecodePage(b)
	case ReadInfo:
		a.Info, err = conv.DecodeInfo(b)
	case ReadProof:
		a.Proof, err = conv.DecodeProof(b)
	case ReadMap:
		a.Map, err = shard.Decode(b)
	default:
		err = json.Unmarshal(b, a.part(k))
	}
	if err != nil {
		return Answer{}, chat.E("read", chat.Internal, "the other node's answer cannot be read", err)
	}
	return a, nil
}

// reached refuses with behind when the replica has not reached MinSeq, of what the
// user may see: where others may see more, the user learns nothing of it. A stale
// replica may not have heard yet that somebody is a member, so there a stranger
// meets behind for any MinSeq.
func reached(r fsm.Reader, g shard.GroupID, q *Request) error {
	if q.MinSeq == 0 || q.Kind == ReadMap {
		return nil
	}
	head, err := visibleHead(r, g, q)
	switch {
	case chat.CodeOf(err) == chat.NotFound && q.Level != wire.Stale:
		return nil // the read itself says so
	case chat.CodeOf(err) == chat.NotFound:
	case err != nil:
		return err
	case head.Seq >= q.MinSeq:
		return nil
	}
	return chat.E("read", chat.Behind, "this replica has not reached min_seq", nil)
}

// visibleHead reads the newest entry that the asking user may see.
func visibleHead(r fsm.Reader, g shard.GroupID, q *Request) (conv.HeadInfo, error) {
	if q.All || q.Kind == ReadHead {
		return conv.ReadHead(r, uint32(g), q.Conv)
	}
	return conv.ReadVisibleHead(r, uint32(g), q.Conv, q.User)
}

// lagging turns the refusal of a stale proof into behind, where the entries that
// it lacks are beyond this replica's newest: they may exist, and come here yet.
func lagging(r fsm.Reader, g shard.GroupID, q *Request, err error) error {
	if q.Level != wire.Stale || chat.CodeOf(err) != chat.Invalid {
		return err
	}
	least := max(q.Seq, q.OldSize)
	if q.Size != 0 && least > q.Size {
		return err // in no tree of that size
	}
	if head, herr := visibleHead(r, g, q); herr != nil || max(least, q.Size) <= head.Seq {
		return err
	}
	return chat.E("read", chat.Behind, "this replica has not reached that seq or size", nil)
}

func readMap(r fsm.Reader, g shard.GroupID) (*shard.Map, error) {
	if g != shard.Meta {
		return nil, errRequest
	}
	m, ok, err := meta.Read(r)
	if err == nil && !ok {
		err = chat.E("read map", chat.NotFound, "the cluster is not bootstrapped", nil)
	}
	return m, err
}
