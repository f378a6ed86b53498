package conv

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/chatnode/chatnode/chat"
)

// TestCache puts more conversations into a cache than it holds, and compares what
// it finds with a map of those that it did not drop.
func TestCache(t *testing.T) {
	t.Parallel()
	const seed = 3
	rng := rand.New(rand.NewPCG(seed, 0))
	name := func(n int) []byte { return fmt.Appendf(nil, "conversation-%d", n) }
	var c cache
	have := map[string]*hot{}
	favourite := name(0)
	for range 60_000 {
		id := name(rng.IntN(3 * HotConversationsMax))
		h := c.get(id)
		if h != have[string(id)] {
			t.Fatalf("seed %d: get(%s) = %v, want %v", seed, id, h, have[string(id)])
		}
		if h != nil {
			continue
		}
		h = &hot{convRow: convRow{id: chat.ConvID(id)}}
		h.window.most = windowUsual
		if len(c.all) == HotConversationsMax {
			c.advance() // the next put goes on from here
			delete(have, string(c.all[c.hand].id))
		}
		c.put(h)
		have[string(id)] = h
		if f := c.get(favourite); f == nil && have[string(favourite)] != nil {
			t.Fatalf("seed %d: a conversation in constant use was dropped", seed)
		}
		if len(c.all) != len(have) || len(have) > HotConversationsMax {
			t.Fatalf("seed %d: %d conversations in memory, want %d", seed, len(c.all), len(have))
		}
	}
	for id, h := range have {
		if c.get([]byte(id)) != h {
			t.Fatalf("seed %d: %s is lost", seed, id)
		}
	}
	if len(have) != HotConversationsMax || c.wide != 0 {
		t.Errorf("seed %d: %d conversations and %d ids over the usual at the end", seed, len(have), c.wide)
	}
}

// TestRoles compares the roles that a conversation knows with a map.
func TestRoles(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(4, 0))
	var h hot
	want := map[chat.UserID]chat.Role{}
	for range 20_000 {
		user := chat.UserID(fmt.Sprintf("u%d", rng.IntN(HotMembersMax)))
		switch rng.IntN(3) {
		case 0:
			role := chat.Role(rng.IntN(int(chat.Owner) + 1))
			h.know(user, role)
			want[user] = role
		default:
			if want[user] == chat.NoRole {
				continue // it would be read from rows
			}
			k, err := h.role(nil, []byte(user))
			if err != nil || k.user != user || k.role != want[user] {
				t.Fatalf("role(%s) = %v, %v, want %v", user, k, err, want[user])
			}
		}
	}
}
