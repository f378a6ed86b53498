package client

import (
	"context"
	"time"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/wire"
)

// Conversation is one to be created.
type Conversation struct {
	Conv    chat.ConvID // "" for a direct conversation
	Kind    chat.Kind   // 0 means chat.Group
	To      chat.UserID // the other one of a direct conversation
	Title   string
	Policy  chat.HistoryPolicy // 0 for the default
	Members []chat.Change      // besides the creator
	ID      chat.ClientID      // zero for one drawn by the client
}

// Created says where a conversation begins.
type Created struct {
	Conv chat.ConvID
	chat.Ack
}

func (c *Client) newID() chat.ClientID {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ids.next(time.Now())
}

// Create makes a conversation; repeated with the same ID it makes one.
func (c *Client) Create(ctx context.Context, n Conversation) (Created, error) {
	if n.Kind == 0 {
		n.Kind = chat.Group
	}
	if n.ID.IsZero() {
		n.ID = c.newID()
	}
	r, err := c.do(ctx, "create", wire.Request{
		Type: wire.Create, Conv: n.Conv, ID: n.ID, Kind: n.Kind, To: n.To,
		Title: n.Title, Policy: n.Policy, Changes: n.Members,
	})
	if err != nil {
		return Created{}, err
	}
	if r.Conv == "" {
		r.Conv = n.Conv
	}
	return Created{Conv: r.Conv, Ack: r.Ack}, nil
}

// ChangeMembers adds, removes (chat.NoRole) or changes the roles of members.
func (c *Client) ChangeMembers(ctx context.Context, conv chat.ConvID, changes ...chat.Change) (chat.Ack, error) {
	return c.ChangeMembersWithID(ctx, conv, c.newID(), changes...)
}

// ChangeMembersWithID is ChangeMembers under an id of the caller's: repeated
// with the same id it is done once, also by another process.
func (c *Client) ChangeMembersWithID(ctx context.Context, conv chat.ConvID, id chat.ClientID, changes ...chat.Change) (chat.Ack, error) {
	r, err := c.do(ctx, "members", wire.Request{Type: wire.Members, Conv: conv, ID: id, Changes: changes})
	return r.Ack, err
}

// Leave removes the caller from a conversation.
func (c *Client) Leave(ctx context.Context, conv chat.ConvID) (chat.Ack, error) {
	return c.ChangeMembers(ctx, conv, chat.Change{User: c.Welcome().User})
}

// Query asks for a page of history: the newest entries, or those before, after
// or around At.
type Query struct {
	Conv   chat.ConvID
	Page   wire.Direction
	At     chat.Seq
	Limit  int        // 0 for the most that the node gives
	Level  wire.Level // the zero value is linearizable
	MinSeq chat.Seq   // with wire.Stale: what the replica must have reached
}

func (q *Query) request() wire.Request {
	return wire.Request{
		Type: wire.History, Conv: q.Conv, Page: q.Page, At: q.At,
		Limit: uint64(max(q.Limit, 0)), Level: q.Level, MinSeq: q.MinSeq,
	}
}

// Page is a part of a conversation in ascending order.
type Page struct {
	Entries []chat.Entry
	Head    chat.Seq
	More    bool // there is more in the direction of reading
}

// History reads one page.
func (c *Client) History(ctx context.Context, q Query) (Page, error) {
	r, err := c.do(ctx, "history", q.request())
	if err != nil {
		return Page{}, err
	}
	return Page{Entries: r.Entries, Head: r.Head, More: r.More}, nil
}

// HistoryAsync reads one page and hands it to done, see the package comment for
// where that runs.
func (c *Client) HistoryAsync(q Query, done func(Page, error)) error {
	_, err := c.begin("history", q.request(), func(r *wire.Reply, err error) {
		if err != nil {
			done(Page{}, err)
			return
		}
		done(Page{Entries: r.Entries, Head: r.Head, More: r.More}, nil)
	})
	return err
}

// ReadAll reads every entry after the seq given, page by page, and calls each
// with it until it returns false.
func (c *Client) ReadAll(ctx context.Context, conv chat.ConvID, after chat.Seq, each func(chat.Entry) bool) error {
	for {
		p, err := c.History(ctx, Query{Conv: conv, Page: wire.After, At: after})
		if err != nil {
			return err
		}
		for _, e := range p.Entries {
			if e.Seq <= after {
				return chat.E("history", chat.Corrupt, "a page is not in ascending order", nil)
			}
			after = e.Seq
			if !each(e) {
				return nil
			}
		}
		if !p.More || len(p.Entries) == 0 {
			return nil
		}
	}
}

// Info reads the head and the members of a conversation.
func (c *Client) Info(ctx context.Context, conv chat.ConvID) (chat.Info, error) {
	r, err := c.do(ctx, "info", wire.Request{Type: wire.Info, Conv: conv})
	r.Info.Conv = conv
	return r.Info, err
}

// Ping measures the way to the node and back.
func (c *Client) Ping(ctx context.Context) (time.Duration, error) {
	start := time.Now()
	_, err := c.do(ctx, "ping", wire.Request{Type: wire.Ping})
	return time.Since(start), err
}
