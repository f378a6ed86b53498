package conv

import (
	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/internal/invariant"
)

// changeMembers adds members, removes them or changes their roles: one entry
// for all changes of the command, which are of one sort.
func (m *Machine) changeMembers(c *fsm.ChangeMembers) (fsm.Result, error) {
	h, _, err := m.find([]byte(c.Conv))
	if err != nil {
		return fsm.Result{}, err
	}
	if h == nil {
		return fsm.Refuse(chat.NotFound, ""), nil
	}
	raw := changeBytes(c.Changes)
	seq, err := m.seen(h, &c.ClientID, []byte(c.Actor))
	if err != nil {
		return fsm.Result{}, err
	}
	if seq != 0 {
		return m.repeat(h, seq, func(e *view[[]byte]) bool {
			return e.typ >= chat.MemberAdded && e.typ <= chat.RoleChanged && string(e.changesRaw) == string(raw)
		})
	}
	if res, ok := checkID(&c.ClientID, max(m.tx.now, h.timeMS)); !ok {
		return res, nil
	}
	if res, ok, err := m.refusedBefore(h, []byte(c.Actor), &c.ClientID); err != nil || ok {
		return res, err
	}
	actor, err := h.role(m.tx.w, []byte(c.Actor))
	if err != nil {
		return fsm.Result{}, err
	}
	if actor.role == chat.NoRole {
		return m.refuse(h, []byte(c.Actor), &c.ClientID, fsm.Refuse(chat.NotFound, ""))
	}
	if res, ok := checkChanges(h, c); !ok {
		return res, nil
	}
	rows := make([]memberRow, len(c.Changes))
	for i, ch := range c.Changes {
		if rows[i], _, err = readMember(m.tx.w, &h.prefix, string(ch.User)); err != nil {
			return fsm.Result{}, err
		}
	}
	p, res, ok := plan(h, actor, c.Changes, rows)
	if !ok {
		return m.refuse(h, []byte(c.Actor), &c.ClientID, res)
	}
	return m.change(h, c, actor, rows, p, raw)
}

// checkChanges holds the list itself to the limits.
func checkChanges(h *hot, c *fsm.ChangeMembers) (fsm.Result, bool) {
	refuse := func(code chat.Code, msg string) (fsm.Result, bool) { return fsm.Refuse(code, msg), false }
	switch {
	case h.kind == chat.Direct:
		return refuse(chat.FixedMembers, "the members of a direct conversation do not change")
	case !chat.ValidID(string(c.Device)):
		return refuse(chat.Invalid, "the device id is malformed")
	case len(c.Changes) == 0:
		return refuse(chat.Invalid, "no changes")
	case len(c.Changes) > chat.MembersPerCommand:
		return refuse(chat.TooLarge, "more than 100 changes in one command")
	}
	for _, ch := range c.Changes {
		if !chat.ValidUserID(string(ch.User)) || ch.Role > chat.Owner {
			return refuse(chat.Invalid, "a member's id or role is malformed")
		}
	}
	if hasDouble(c.Changes) {
		return refuse(chat.Invalid, "a user is named twice")
	}
	return fsm.Result{}, true
}

// planned is what a list of changes comes to.
type planned struct {
	typ             chat.EntryType
	members, owners int // after it
}

// plan decides what a list of changes is, whether the actor may do it, and what
// would be left.
func plan(h *hot, actor knownRole, changes []chat.Change, rows []memberRow) (planned, fsm.Result, bool) {
	p := planned{members: h.members, owners: h.owners}
	refuse := func(code chat.Code, msg string) (planned, fsm.Result, bool) { return p, fsm.Refuse(code, msg), false }
	for i, ch := range changes {
		was := rows[i].role
		var typ chat.EntryType
		switch {
		case ch.Role == chat.NoRole && was == chat.NoRole:
			return refuse(chat.NotMember, "a user to remove is no member")
		case ch.Role == chat.NoRole:
			typ = chat.MemberRemoved
			p.members--
		case was == chat.NoRole:
			typ = chat.MemberAdded
			p.members++
		case was == ch.Role:
			return refuse(chat.AlreadyMember, "a user has this role already")
		default:
			typ = chat.RoleChanged
		}
		if p.typ != 0 && p.typ != typ {
			return refuse(chat.Invalid, "a command adds, removes or changes roles, not several of these")
		}
		p.typ = typ
		if was == chat.Owner {
			p.owners--
		}
		if ch.Role == chat.Owner {
			p.owners++
		}
		if leaving := typ == chat.MemberRemoved && ch.User == actor.user; !leaving && !mayChange(actor.role, typ, was, ch.Role) {
			return refuse(chat.Forbidden, "your role does not allow this")
		}
		if typ == chat.MemberAdded && len(rows[i].intervals) >= chat.RejoinsMax {
			return refuse(chat.MemberLimit, "a user was added too many times")
		}
	}
	switch {
	case p.members > int(h.membersMax):
		return refuse(chat.MemberLimit, "more members than the conversation may have")
	case p.members > 0 && p.owners == 0:
		return refuse(chat.LastOwner, "name another owner first")
	}
	return p, fsm.Result{}, true
}

// mayChange says what a role may do to others: an owner everything, an admin
// adds and removes those below admin.
func mayChange(actor chat.Role, typ chat.EntryType, was, becomes chat.Role) bool {
	switch actor {
	case chat.Owner:
		return true
	case chat.Admin:
		return typ != chat.RoleChanged && was < chat.Admin && becomes < chat.Admin
	default:
		return false
	}
}

// change writes an allowed change.
func (m *Machine) change(h *hot, c *fsm.ChangeMembers, actor knownRole, rows []memberRow, p planned, raw []byte) (fsm.Result, error) {
	seq := h.seq + 1
	h.members, h.owners = p.members, p.owners
	if err := m.setConv(h); err != nil {
		return fsm.Result{}, err
	}
	for i, ch := range c.Changes {
		row := &rows[i]
		row.role, row.seq = ch.Role, seq
		last := len(row.intervals) - 1
		switch {
		case p.typ != chat.MemberAdded && (last < 0 || row.intervals[last].To != 0):
			return fsm.Result{}, invariant.Broken("a member has an open interval", "conv", h.id, "seq", seq)
		case p.typ == chat.MemberRemoved:
			row.intervals[last].To = seq
		case p.typ == chat.MemberAdded && h.policy == chat.AllHistory:
			row.intervals = append(row.intervals[:0], Interval{From: 1})
		case p.typ == chat.MemberAdded:
			row.intervals = append(row.intervals, Interval{From: seq})
		}
		if err := m.setMember(h, ch.User, row); err != nil {
			return fsm.Result{}, err
		}
	}
	return m.write(h, actor.user, &view[[]byte]{
		typ: p.typ, sender: []byte(c.Actor), device: []byte(c.Device), clientID: c.ClientID,
		changes: len(c.Changes), changesRaw: raw,
	})
}
