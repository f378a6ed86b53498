package conv

import (
	"bytes"
	"slices"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/internal/invariant"
)

// Bounds of the memory of refusals. Users are counted because a stranger, too,
// takes a row.
const (
	RefusalsMax = 64   // of one user in one conversation; the oldest goes
	RefusersMax = 1024 // users of one conversation; with one more the next in the order of ids goes
)

// refusal is a command that was refused for what the conversation was at the
// time: who was a member, and as what. The client takes the answer for final, but
// another node may still hold an earlier attempt of the same command, and the
// conversation changes. So the answer is kept, and given to each later attempt
// (V7). Refusals that follow from the command alone need no memory.
type refusal struct {
	id   chat.ClientID
	code chat.Code
}

// keptCodes are the codes of refusals that are kept, by their number in a row.
var keptCodes = [...]chat.Code{
	chat.NotFound, chat.Forbidden, chat.NotMember, chat.AlreadyMember, chat.MemberLimit, chat.LastOwner,
	chat.Invalid, // changes that are of several sorts, which follows from who is a member
}

// count u8 ‖ count × { client_id 16 ‖ code u8 }, the oldest first.
func appendRefusals(dst []byte, list []refusal) []byte {
	dst = append(dst, byte(len(list)))
	for i := range list {
		dst = append(append(dst, list[i].id[:]...), byte(slices.Index(keptCodes[:], list[i].code)))
	}
	return dst
}

func decodeRefusals(b []byte) ([]refusal, error) {
	c := cursor[[]byte]{b: b}
	n := int(c.u8())
	c.bad = c.bad || n == 0 || n > RefusalsMax
	var list []refusal
	for range n {
		id, code := c.take(len(chat.ClientID{})), int(c.u8())
		if c.bad || code >= len(keptCodes) {
			return nil, corrupt(opRow, "the row of refusals is malformed")
		}
		list = append(list, refusal{chat.ClientID(id), keptCodes[code]})
	}
	if c.bad || len(c.b) != 0 {
		return nil, corrupt(opRow, "the row of refusals is malformed")
	}
	return list, nil
}

// refusals reads what of a user was refused.
func (m *Machine) refusals(h *hot, user []byte) ([]refusal, error) {
	if h.refusers == 0 {
		return nil, nil
	}
	m.key = append(h.prefix.appendKind(m.key[:0], kindRefused), user...)
	val, ok, err := m.tx.w.Get(m.key)
	if err != nil || !ok {
		return nil, err
	}
	body, err := fsm.Open(m.key, val)
	if err != nil {
		return nil, err
	}
	return decodeRefusals(body)
}

// refusedBefore gives the answer to an earlier attempt of a command that was
// refused. Members without refusals are remembered, since they are asked for
// again and again.
func (m *Machine) refusedBefore(h *hot, user []byte, id *chat.ClientID) (fsm.Result, bool, error) {
	if h.refusers == 0 {
		return fsm.Result{}, false, nil
	}
	at := h.place(user)
	if at >= 0 && h.roles[at].clean {
		return fsm.Result{}, false, nil
	}
	list, err := m.refusals(h, user)
	if err != nil {
		return fsm.Result{}, false, err
	}
	if at >= 0 {
		h.roles[at].clean = len(list) == 0
	}
	i := slices.IndexFunc(list, func(r refusal) bool { return r.id == *id })
	if i < 0 {
		return fsm.Result{}, false, nil
	}
	if list[i].code == chat.NotFound { // in the words of a conversation that does not exist
		return fsm.Refuse(chat.NotFound, ""), true, nil
	}
	return fsm.Refuse(list[i].code, "refused before under this client id; send again with a new one"), true, nil
}

// refuse refuses a command for good, and keeps the answer. It is for refusals that
// follow from the state only.
func (m *Machine) refuse(h *hot, user []byte, id *chat.ClientID, res fsm.Result) (fsm.Result, error) {
	if !chat.ValidUserID(string(user)) {
		return res, nil
	}
	if !slices.Contains(keptCodes[:], res.Code) {
		return fsm.Result{}, invariant.Broken("a refusal by the state has a number", "code", res.Code)
	}
	list, err := m.refusals(h, user)
	if err != nil {
		return fsm.Result{}, err
	}
	if len(list) == 0 {
		if err := m.countRefuser(h, user); err != nil {
			return fsm.Result{}, err
		}
	}
	if len(list) == RefusalsMax {
		list = list[1:]
	}
	list = append(list, refusal{*id, res.Code})
	if at := h.place(user); at >= 0 {
		h.roles[at].clean = false
	}
	key := append(h.prefix.appendKind(nil, kindRefused), user...)
	return res, m.tx.w.Set(key, fsm.Seal(key, appendRefusals(nil, list)))
}

// countRefuser makes room for one more user with refusals.
func (m *Machine) countRefuser(h *hot, user []byte) error {
	if h.refusers < RefusersMax {
		h.refusers++
		return m.setConv(h)
	}
	lower, upper := h.prefix.appendKind(nil, kindRefused), h.prefix.appendKind(nil, kindRefused+1)
	var gone []byte
	first := func(k, _ []byte) (bool, error) {
		gone = bytes.Clone(k)
		return false, nil
	}
	err := m.tx.w.Scan(append(h.prefix.appendKind(nil, kindRefused), user...), upper, false, first)
	if err == nil && gone == nil {
		err = m.tx.w.Scan(lower, upper, false, first)
	}
	if err != nil {
		return err
	}
	if gone == nil {
		return invariant.Broken("users with refusals have rows", "conv", h.id, "count", h.refusers)
	}
	return m.tx.w.Delete(gone)
}

// refusals reads the rows of refusals and counts them; the entries are then held
// against them.
func (v *verifier) refusals() error {
	rows := 0
	v.refused = map[recentID]bool{}
	lower, upper := v.prefix.appendKind(nil, kindRefused), v.prefix.appendKind(nil, kindRefused+1)
	err := v.r.Scan(lower, upper, false, func(k, val []byte) (bool, error) {
		rows++
		body, err := fsm.Open(k, val)
		if err != nil {
			return false, err
		}
		list, err := decodeRefusals(body)
		for i := range list {
			v.refused[recentID{id: list[i].id, sender: chat.UserID(k[prefixBytes+1:])}] = true
		}
		return true, err
	})
	if err != nil {
		return err
	}
	if rows != v.row.refusers {
		return invariant.Broken("users with refusals are counted", "conv", v.row.id, "rows", rows, "want", v.row.refusers)
	}
	return nil
}
