package chaos

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/client"
	"github.com/chatnode/chatnode/internal/check"
	"github.com/chatnode/chatnode/wire"
)

// guest is a user whom the owner adds and removes, and who tries to read, write
// and follow all the time, allowed or not.
type guest struct {
	l    *load
	user string
	conv string
	cl   *client.Client
	rnd  *rand.Rand
	sent int64
}

// run lives until ctx ends.
func (g *guest) run(ctx context.Context) {
	var s *stream
	var next uint64 = 1
	member := false
	for step := 0; ctx.Err() == nil; step++ {
		if s == nil || s.sub.Err() != nil {
			if s != nil {
				next = max(next, s.reached()+1)
			}
			s, _ = g.l.subscribe(g.cl, g.user, g.conv, next) // an error ends a stream that delivered nothing
			if s.sub == nil {
				s = nil
			}
		}
		switch {
		case step%8 == 0:
			member = !member
			g.admit(ctx, member)
		case step%2 == 0:
			g.send(ctx)
		default:
			op := &check.Op{Kind: check.Read, Conv: g.conv, User: g.user, Device: device, Limit: 10}
			g.l.read(context.WithoutCancel(ctx), g.cl, op, wire.Linearizable)
		}
		wait(ctx, time.Duration(g.rnd.IntN(200))*time.Millisecond)
	}
	if s != nil {
		s.sub.Close()
	}
}

// admit lets the owner add or remove the guest.
func (g *guest) admit(ctx context.Context, in bool) {
	role := chat.NoRole
	if in {
		role = chat.Writer
	}
	id := client.NewID()
	changes := []chat.Change{{User: chat.UserID(g.user), Role: role}}
	op := &check.Op{Kind: check.Members, Conv: g.conv, User: owner, Device: "desk", Call: g.l.now(), MsgID: id.String(),
		Sum: changeSum(owner, id.String(), changes), Changes: []check.Change{{User: g.user, Role: uint8(role)}}}
	g.l.rec.Invoke(op)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readTimeout)
	defer cancel()
	ack, err := g.l.owner.ChangeMembersWithID(ctx, chat.ConvID(g.conv), id, changes...)
	g.l.answered(op, ack, err)
}

func (g *guest) send(ctx context.Context) {
	id, body := client.NewID(), text(g.rnd, g.l.cfg.TextBytesMax)
	g.sent++
	op := &check.Op{Kind: check.Append, Conv: g.conv, User: g.user, Device: device, Call: g.l.now(), MsgID: id.String(),
		N: g.sent, Sum: messageSum(g.user, device, id.String(), body)}
	g.l.rec.Invoke(op)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readTimeout)
	defer cancel()
	ack, err := g.cl.Send(ctx, client.Message{Conv: chat.ConvID(g.conv), Text: body, ID: id})
	g.l.answered(op, ack, err)
}

// wait returns after d or when ctx ends.
func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
