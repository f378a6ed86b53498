package fsmtest

import (
	"math/rand/v2"
	"strings"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm"
)

// Generator draws commands of few users in few conversations, so that they meet:
// retries, stale and foreign ids, predecessors, every kind of refusal, and jumps
// of time over the memory of ids. The same seed gives the same commands.
type Generator struct {
	Now int64

	r    *rand.Rand
	next uint64
	sent []fsm.Command // to repeat
	last map[chat.UserID]chat.ClientID
}

// NewGenerator makes a generator.
func NewGenerator(seed uint64) *Generator {
	return &Generator{Now: Epoch, r: rand.New(rand.NewPCG(seed, 1)), last: map[chat.UserID]chat.ClientID{}}
}

var users = []chat.UserID{"ann", "bob", "cy", "dee", "eve"}

// Tick moves the time: mostly a little, at times backwards, seldom over days.
func (g *Generator) Tick() int64 {
	switch n := g.r.IntN(1000); {
	case n < 6:
		g.Now += g.r.Int64N(9 * day)
	case n < 60:
		g.Now -= g.r.Int64N(5_000)
	default:
		g.Now += g.r.Int64N(2_000)
	}
	return g.Now
}

// Intn is a number below n, from the same sequence.
func (g *Generator) Intn(n int) int { return g.r.IntN(n) }

// User draws a user.
func (g *Generator) User() chat.UserID { return users[g.r.IntN(len(users))] }

func (g *Generator) group() chat.ConvID {
	return []chat.ConvID{"g1", "g1", "g1", "g2", "ch"}[g.r.IntN(5)]
}

// ID draws a client id: mostly new and of now, at times old, ahead or without time.
func (g *Generator) id() chat.ClientID {
	g.next++
	switch n := g.r.IntN(100); {
	case n < 8:
		return IDv4(g.next)
	case n < 10:
		return ID(g.Now-g.r.Int64N(9*day), g.next)
	case n < 12:
		return ID(g.Now+g.r.Int64N(2*day), g.next)
	case n < 13:
		return chat.ClientID{}
	default:
		return ID(g.Now-g.r.Int64N(3_000), g.next)
	}
}

// Next draws a command.
func (g *Generator) Next() fsm.Command {
	if n := len(g.sent); n > 0 && g.r.IntN(8) == 0 {
		at := n - 1 - min(g.r.IntN(n), g.r.IntN(n), g.r.IntN(n))
		return g.bend(g.sent[at])
	}
	c := g.fresh()
	g.sent = append(g.sent, c)
	return c
}

// bend repeats a command, seldom with another content under the same id.
func (g *Generator) bend(c fsm.Command) fsm.Command {
	if a, ok := c.(fsm.Append); ok && g.r.IntN(6) == 0 {
		a.Text += "!"
		return a
	}
	return c
}

func (g *Generator) fresh() fsm.Command {
	switch n := g.r.IntN(100); {
	case n < 3:
		return g.create()
	case n < 15:
		c := fsm.ChangeMembers{Conv: g.group(), Actor: g.User(), Device: "phone", ClientID: g.id()}
		for range 1 + g.r.IntN(2) {
			c.Changes = append(c.Changes, chat.Change{User: g.User(), Role: chat.Role(g.r.IntN(5))})
		}
		return c
	case n < 25:
		a, b := g.User(), g.User()
		return fsm.Append{Conv: chat.DirectID(a, b), Sender: a, Device: "tab", ClientID: g.id(), Text: g.text(), Direct: b}
	default:
		a := fsm.Append{Conv: g.group(), Sender: g.User(), Device: "phone", ClientID: g.id(), Text: g.text()}
		switch g.r.IntN(20) {
		case 0:
			a.After = g.id()
		case 1, 2, 3:
			a.After = g.last[a.Sender]
		case 4:
			a.ContentType = "text/markdown"
		}
		g.last[a.Sender] = a.ClientID
		return a
	}
}

func (g *Generator) create() fsm.Command {
	c := Group(g.group(), g.User(), g.id(),
		chat.Change{User: g.User(), Role: chat.Role(1 + g.r.IntN(4))}, chat.Change{User: g.User(), Role: chat.Writer})
	c.Policy = chat.HistoryPolicy(g.r.IntN(3))
	c.MembersMax = uint32(g.r.IntN(6))
	if c.Conv == "ch" {
		c.Kind = chat.Channel
	}
	if g.r.IntN(4) == 0 {
		c.Kind, c.Members, c.Title, c.MembersMax = chat.Direct, c.Members[:1], "", 0
		c.Conv = chat.DirectID(c.Creator, c.Members[0].User)
	}
	return c
}

func (g *Generator) text() string {
	switch g.r.IntN(40) {
	case 0:
		return ""
	case 1:
		return "\xff\xfe"
	case 2:
		return strings.Repeat("你好 🙂 ", 200)
	case 3:
		return "שלום עולם"
	default:
		return strings.Repeat("word ", 1+g.r.IntN(8))
	}
}
