package conv

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm"
)

// directPrefix begins the ids of direct conversations, and of no others: else a
// group could be placed where two people expect theirs.
const directPrefix = "d~"

// create begins a conversation. Creating again what is there already answers
// with the first entry.
func (m *Machine) create(c *fsm.Create) (fsm.Result, error) {
	if res, ok := settle(c); !ok {
		return res, nil
	}
	h, taken, err := m.find([]byte(c.Conv))
	switch {
	case err != nil:
		return fsm.Result{}, err
	case taken:
		return fsm.Refuse(chat.Exists, "choose another id"), nil
	case h != nil:
		return m.createAgain(h, c)
	}
	if res, ok := checkID(&c.ClientID, m.tx.now); !ok {
		return res, nil
	}
	_, res, err := m.begin(c)
	return res, err
}

func (m *Machine) createAgain(h *hot, c *fsm.Create) (fsm.Result, error) {
	body := creation(c)
	raw := string(changeBytes(body.Changes))
	res, err := m.repeat(h, 1, func(e *view[[]byte]) bool {
		if h.kind == chat.Direct { // whichever of the two was first
			return c.Kind == chat.Direct
		}
		return string(e.sender) == string(c.Creator) && string(e.title) == body.Title &&
			e.kind == body.Kind && e.policy == body.Policy && e.membersMax == body.MembersMax &&
			string(e.changesRaw) == raw
	})
	if err != nil || res.Code == chat.OK {
		return res, err
	}
	seq, err := m.seen(h, &c.ClientID, []byte(c.Creator))
	if err != nil || seq != 0 {
		return res, err // conflict
	}
	return fsm.Refuse(chat.Exists, "a conversation of this id exists"), nil
}

// settle fills in the defaults of a creation and holds it to the limits. The
// members become the whole list, the creator first.
func settle(c *fsm.Create) (fsm.Result, bool) {
	refuse := func(code chat.Code, msg string) (fsm.Result, bool) { return fsm.Refuse(code, msg), false }
	if c.Policy == 0 {
		c.Policy = chat.FromJoin
	}
	switch {
	case !chat.ValidID(string(c.Conv)):
		return refuse(chat.Invalid, "the conversation id is malformed")
	case !chat.ValidUserID(string(c.Creator)), !chat.ValidID(string(c.Device)):
		return refuse(chat.Invalid, "the creator's user or device id is malformed")
	case c.Policy != chat.FromJoin && c.Policy != chat.AllHistory:
		return refuse(chat.Invalid, "the history policy is unknown")
	case len(c.Title) > chat.TitleBytesMax:
		return refuse(chat.TooLarge, "the title has more than 256 bytes")
	case !utf8.ValidString(c.Title):
		return refuse(chat.InvalidUTF8, "the title is not UTF-8")
	case len(c.Members) > chat.MembersPerCommand:
		return refuse(chat.TooLarge, "more than 100 members in one command")
	}
	var most uint32
	switch c.Kind {
	case chat.Direct:
		return settleDirect(c)
	case chat.Group:
		most = chat.GroupMembersMax
		if c.MembersMax == 0 {
			c.MembersMax = chat.GroupMembersSoft
		}
	case chat.Channel:
		most = chat.ChannelMembersMax
		if c.MembersMax == 0 {
			c.MembersMax = most
		}
	default:
		return refuse(chat.Invalid, "the kind of conversation is unknown")
	}
	if strings.HasPrefix(string(c.Conv), directPrefix) {
		return refuse(chat.Invalid, "this id is kept for a direct conversation")
	}
	if c.MembersMax > most {
		return refuse(chat.TooLarge, "the member limit is above that of the kind")
	}
	all := make([]chat.Change, 1, 1+len(c.Members))
	all[0] = chat.Change{User: c.Creator, Role: chat.Owner}
	for _, ch := range c.Members {
		if !chat.ValidUserID(string(ch.User)) || ch.Role < chat.Reader || ch.Role > chat.Owner {
			return refuse(chat.Invalid, "a member's id or role is malformed")
		}
		if ch.User != c.Creator {
			all = append(all, ch)
		}
	}
	if hasDouble(all) {
		return refuse(chat.Invalid, "a user is named twice")
	}
	if len(all) > int(c.MembersMax) {
		return refuse(chat.MemberLimit, "more members than the conversation may have")
	}
	c.Members = all
	return fsm.Result{}, true
}

func settleDirect(c *fsm.Create) (fsm.Result, bool) {
	others := slices.DeleteFunc(slices.Clone(c.Members), func(ch chat.Change) bool { return ch.User == c.Creator })
	switch {
	case len(others) != 1 || !chat.ValidUserID(string(others[0].User)):
		return fsm.Refuse(chat.Invalid, "a direct conversation has exactly two members"), false
	case c.Conv != chat.DirectID(c.Creator, others[0].User):
		return fsm.Refuse(chat.Invalid, "the id of a direct conversation follows from its two members"), false
	case c.Title != "" || c.MembersMax > chat.DirectMembers:
		return fsm.Refuse(chat.Invalid, "a direct conversation has no title and no other member limit"), false
	}
	c.MembersMax, c.Policy = chat.DirectMembers, chat.FromJoin
	c.Members = []chat.Change{{User: c.Creator, Role: chat.Writer}, {User: others[0].User, Role: chat.Writer}}
	return fsm.Result{}, true
}

func hasDouble(list []chat.Change) bool {
	users := make([]chat.UserID, len(list))
	for i, c := range list {
		users[i] = c.User
	}
	slices.Sort(users)
	return len(slices.Compact(users)) != len(list)
}

// creation is the body of a conversation's first entry.
func creation(c *fsm.Create) chat.Body {
	return chat.Body{Title: c.Title, Kind: c.Kind, Policy: c.Policy, MembersMax: c.MembersMax, Changes: c.Members}
}

// begin writes a settled creation. h is nil when its place is taken.
func (m *Machine) begin(c *fsm.Create) (*hot, fsm.Result, error) {
	h := &hot{prefix: prefixOf(m.group, string(c.Conv))}
	h.convRow = convRow{
		id: c.Conv, kind: c.Kind, policy: c.Policy, membersMax: c.MembersMax, title: c.Title,
		members: len(c.Members),
	}
	if _, ok, taken, err := readConvRow(m.tx.w, &h.prefix, string(c.Conv)); err != nil || ok || taken {
		return nil, fsm.Refuse(chat.Exists, "choose another id"), err
	}
	h.setTail(&tail{})
	for _, ch := range c.Members {
		if ch.Role == chat.Owner {
			h.owners++
		}
		row := memberRow{role: ch.Role, seq: 1, intervals: []Interval{{From: 1}}}
		if err := m.setMember(h, ch.User, &row); err != nil {
			return nil, fsm.Result{}, err
		}
	}
	if err := m.setConv(h); err != nil {
		return nil, fsm.Result{}, err
	}
	res, err := m.write(h, c.Creator, &view[[]byte]{
		typ: chat.Created, sender: []byte(c.Creator), device: []byte(c.Device), clientID: c.ClientID,
		title: []byte(c.Title), kind: c.Kind, policy: c.Policy, membersMax: c.MembersMax,
		changes: len(c.Members), changesRaw: changeBytes(c.Members),
	})
	if err != nil {
		return nil, fsm.Result{}, err
	}
	m.hot.put(h)
	return h, res, nil
}

func (m *Machine) setConv(h *hot) error {
	key := h.prefix.appendKind(nil, kindConv)
	return m.tx.w.Set(key, fsm.Seal(key, h.append(nil)))
}

func (m *Machine) setMember(h *hot, user chat.UserID, row *memberRow) error {
	key := append(h.prefix.appendKind(nil, kindMember), user...)
	h.know(user, row.role)
	return m.tx.w.Set(key, fsm.Seal(key, row.append(nil)))
}
