package conv

import (
	"slices"

	"github.com/cespare/xxhash/v2"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm"
)

// Limits of what a machine keeps in memory.
const (
	HotConversationsMax = 4096 // per group, the least recently used goes
	HotMembersMax       = 256  // roles per conversation
)

// hot is a conversation in memory. It can be dropped at any time: its rows tell
// everything (V1, V3).
type hot struct {
	convRow
	tail
	prefix prefix
	window window
	roles  []knownRole

	hash uint64 // of the id
	used bool   // since the hand of the cache was here
}

// knownRole is a member's role and the one copy of its id that others share.
type knownRole struct {
	user  chat.UserID
	sum   uint32 // of the id: another user is mostly told from it without a look at the id
	role  chat.Role
	clean bool // certainly without refusals
}

// cache holds the hot conversations of a group. When it is full, a hand goes around
// them and drops the first that was not used since it came by before: that is about
// the least recently used, and to use one touches no other.
type cache struct {
	slots []hotSlot // by the hash of the id, with open addressing; a power of two
	all   []*hot
	hand  int // in all
	puts  int // so far
	wide  int // ids over the usual in all windows
}

type hotSlot struct {
	hash uint64
	h    *hot // nil in a free one
}

const hotSlotsMin = 64

// widen gives a conversation a wider window while the group has room.
func (c *cache) widen(h *hot) {
	if c.wide+h.window.most <= windowWideMax {
		c.wide += h.window.widen()
	}
}

// get finds a conversation, and marks it as used.
func (c *cache) get(conv []byte) *hot {
	if len(c.slots) == 0 {
		return nil
	}
	hash := xxhash.Sum64(conv)
	mask := uint64(len(c.slots) - 1)
	for i := hash & mask; c.slots[i].h != nil; i = (i + 1) & mask {
		if s := &c.slots[i]; s.hash == hash && string(s.h.id) == string(conv) {
			s.h.used = true
			return s.h
		}
	}
	return nil
}

// put takes a conversation that is not there.
func (c *cache) put(h *hot) {
	h.hash = xxhash.Sum64String(string(h.id))
	c.puts++
	if len(c.all) == HotConversationsMax {
		c.advance()
		old := c.all[c.hand]
		c.remove(old)
		c.wide -= old.window.most - windowUsual
		c.all[c.hand] = h
		c.hand = (c.hand + 1) % len(c.all)
	} else {
		c.all = append(c.all, h)
		if 2*len(c.all) > len(c.slots) {
			c.grow()
			return
		}
	}
	c.enter(h)
}

// advance moves the hand to who has to go.
func (c *cache) advance() {
	for c.all[c.hand].used {
		c.all[c.hand].used = false
		c.hand = (c.hand + 1) % len(c.all)
	}
}

func (c *cache) enter(h *hot) {
	mask := uint64(len(c.slots) - 1)
	i := h.hash & mask
	for c.slots[i].h != nil {
		i = (i + 1) & mask
	}
	c.slots[i] = hotSlot{h.hash, h}
}

func (c *cache) grow() {
	c.slots = make([]hotSlot, max(hotSlotsMin, 2*len(c.slots)))
	for _, h := range c.all {
		c.enter(h)
	}
}

// remove frees the slot of h, and closes the gap.
func (c *cache) remove(h *hot) {
	mask := uint64(len(c.slots) - 1)
	gap := h.hash & mask
	for c.slots[gap].h != h {
		gap = (gap + 1) & mask
	}
	for i := (gap + 1) & mask; c.slots[i].h != nil; i = (i + 1) & mask {
		if (i-c.slots[i].hash)&mask >= (i-gap)&mask { // a search for it passes the gap
			c.slots[gap] = c.slots[i]
			gap = i
		}
	}
	c.slots[gap] = hotSlot{}
}

// setTail takes over what was read from the rows.
func (h *hot) setTail(t *tail) {
	h.tail = *t
	h.recent = nil
	h.window = newWindow(t.savedMax)
	for _, r := range slices.Backward(t.recent) {
		h.window.add(r)
	}
}

// role finds the role of a user, NoRole for one who is no member.
func (h *hot) role(r fsm.Reader, user []byte) (knownRole, error) {
	if i := h.place(user); i >= 0 {
		k := h.roles[i]
		// Who writes much comes to be found at once.
		h.roles[i], h.roles[i/2] = h.roles[i/2], k
		return k, nil
	}
	row, _, err := readMember(r, &h.prefix, user)
	if err != nil || row.role == chat.NoRole {
		return knownRole{}, err // strangers take no room
	}
	return h.know(chat.UserID(user), row.role), nil
}

// place gives the place of a user among the roles, or -1.
func (h *hot) place(user []byte) int { return h.known(user, uint32(xxhash.Sum64(user))) }

// known is place for one whose sum is there already.
func (h *hot) known(user []byte, sum uint32) int {
	for i := range h.roles {
		if k := &h.roles[i]; k.sum == sum && string(k.user) == string(user) {
			return i
		}
	}
	return -1
}

// know remembers a role, or with NoRole that the user is no member.
func (h *hot) know(user chat.UserID, role chat.Role) knownRole {
	k := knownRole{user: user, sum: uint32(xxhash.Sum64String(string(user))), role: role}
	i := h.known([]byte(user), k.sum)
	switch {
	case i >= 0 && role == chat.NoRole:
		h.roles = slices.Delete(h.roles, i, i+1)
	case i >= 0:
		h.roles[i] = k
	case role == chat.NoRole:
	default:
		if len(h.roles) >= HotMembersMax {
			clear(h.roles)
			h.roles = h.roles[:0]
		}
		h.roles = append(h.roles, k)
	}
	return k
}
