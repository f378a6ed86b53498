package conv

import (
	"slices"

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
	roles  map[chat.UserID]knownRole

	newer, older *hot // in the order of use
}

// knownRole is a member's role and the one copy of its id that others share.
type knownRole struct {
	user chat.UserID
	role chat.Role
}

// cache holds the hot conversations of a group.
type cache struct {
	byID           map[string]*hot
	newest, oldest *hot
	wide           int // ids over the usual in all windows
}

// widen gives a conversation a wider window while the group has room.
func (c *cache) widen(h *hot) {
	if c.wide+h.window.most <= windowWideMax {
		c.wide += h.window.widen()
	}
}

// get finds a conversation and makes it the newest.
func (c *cache) get(conv []byte) *hot {
	h := c.byID[string(conv)]
	if h != nil && h != c.newest {
		c.unlink(h)
		c.link(h)
	}
	return h
}

func (c *cache) put(h *hot) {
	if c.byID == nil {
		c.byID = make(map[string]*hot)
	}
	if len(c.byID) == HotConversationsMax {
		old := c.oldest
		c.unlink(old)
		delete(c.byID, string(old.id))
		c.wide -= old.window.most - windowUsual
	}
	c.byID[string(h.id)] = h
	c.link(h)
}

func (c *cache) link(h *hot) {
	h.older, h.newer = c.newest, nil
	if c.newest != nil {
		c.newest.newer = h
	}
	c.newest = h
	if c.oldest == nil {
		c.oldest = h
	}
}

func (c *cache) unlink(h *hot) {
	if h.newer != nil {
		h.newer.older = h.older
	} else {
		c.newest = h.older
	}
	if h.older != nil {
		h.older.newer = h.newer
	} else {
		c.oldest = h.newer
	}
	h.newer, h.older = nil, nil
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
	if k, ok := h.roles[chat.UserID(user)]; ok {
		return k, nil
	}
	row, _, err := readMember(r, &h.prefix, user)
	if err != nil || row.role == chat.NoRole {
		return knownRole{}, err // strangers take no room
	}
	k := knownRole{user: chat.UserID(user), role: row.role}
	h.know(k)
	return k, nil
}

func (h *hot) know(k knownRole) {
	switch {
	case k.role == chat.NoRole:
		delete(h.roles, k.user)
		return
	case h.roles == nil:
		h.roles = make(map[chat.UserID]knownRole)
	case len(h.roles) >= HotMembersMax:
		clear(h.roles)
	}
	h.roles[k.user] = k
}
