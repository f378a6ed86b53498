package node

import (
	"context"
	"time"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fanout"
	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/fsm/conv"
	"github.com/chatnode/chatnode/session"
	"github.com/chatnode/chatnode/shard/router"
	"github.com/chatnode/chatnode/wire"
)

// backend is the router as front-ends want it.
type backend struct {
	router *router.Router
}

var (
	_ session.Backend = (*backend)(nil)
	_ fanout.Log      = (*backend)(nil)
)

// Propose implements [session.Backend].
func (b *backend) Propose(id chat.ConvID, cmd []byte, deadline time.Time, done func(fsm.Result, error)) {
	b.router.Propose(string(id), cmd, deadline, done)
}

// Page implements [session.Backend].
func (b *backend) Page(ctx context.Context, q conv.Query, f session.Freshness) (conv.Page, error) {
	a, err := b.router.Read(ctx, &router.Request{
		Kind: router.ReadPage, Level: f.Level, MinSeq: f.MinSeq,
		Conv: q.Conv, User: q.User, All: q.All, Mode: q.Mode, Seq: q.Seq, Limit: q.Limit, Bytes: q.Bytes,
	})
	return a.Page, err
}

// Info implements [session.Backend].
func (b *backend) Info(ctx context.Context, id chat.ConvID, user chat.UserID, f session.Freshness) (chat.Info, error) {
	a, err := b.router.Read(ctx, &router.Request{Kind: router.ReadInfo, Level: f.Level, MinSeq: f.MinSeq, Conv: id, User: user})
	return a.Info, err
}

// Proof implements [session.Backend].
func (b *backend) Proof(ctx context.Context, q conv.ProofQuery, f session.Freshness) (conv.Proof, error) {
	a, err := b.router.Read(ctx, &router.Request{
		Kind: router.ReadProof, Level: f.Level, MinSeq: f.MinSeq,
		Conv: q.Conv, User: q.User, All: q.All, Seq: q.Seq, Size: q.Size, OldSize: q.OldSize,
	})
	return a.Proof, err
}

// ReadAfter implements [fanout.Log]: it reads for the service itself, which
// filters by access later. The leader's own state is enough, since the live
// feed comes from the same place.
func (b *backend) ReadAfter(ctx context.Context, id chat.ConvID, after chat.Seq, limit int) ([]chat.Entry, chat.Seq, error) {
	a, err := b.router.Read(ctx, &router.Request{
		Kind: router.ReadPage, Level: wire.Linearizable, Conv: id, All: true, Mode: conv.After, Seq: after, Limit: limit,
	})
	return a.Page.Entries, a.Page.Head, err
}
