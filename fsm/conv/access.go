package conv

import (
	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/internal/fault/sabotage"
)

// reading is a conversation as one reader sees it in one snapshot.
type reading struct {
	r      fsm.Reader
	prefix prefix
	row    convRow
	head   HeadInfo // of the conversation
	see    Access
}

func notFound(op string) error {
	return chat.E(op, chat.NotFound, "no such conversation for this user", nil)
}

// open finds a conversation and what a user may see of it. A user who never was
// a member gets the same answer as for a conversation that is not there.
func open(op string, r fsm.Reader, group uint32, conv chat.ConvID, user chat.UserID, all bool) (reading, error) {
	in := reading{r: r, prefix: prefixOf(group, string(conv))}
	if !chat.ValidID(string(conv)) {
		return in, notFound(op)
	}
	row, ok, _, err := readConvRow(r, &in.prefix, string(conv))
	if err != nil {
		return in, err
	}
	if !ok {
		return in, notFound(op)
	}
	in.row = row
	if all {
		in.see = Access{Role: chat.Owner, Intervals: []Interval{{From: 1}}}
	} else {
		member, ok, err := readMember(r, &in.prefix, string(user))
		if err != nil {
			return in, err
		}
		if !ok || user == "" {
			return in, notFound(op)
		}
		in.see = Access{Role: member.role, Intervals: member.intervals}
		if sabotage.NoAccess() {
			in.see.Intervals = []Interval{{From: 1}}
		}
	}
	in.head, err = readHead(r, &in.prefix)
	return in, err
}

// readHead reads the newest entry.
func readHead(r fsm.Reader, p *prefix) (HeadInfo, error) {
	var h HeadInfo
	err := r.Scan(p.appendKind(nil, kindEntry), p.appendKind(nil, kindEntry+1), true, func(k, val []byte) (bool, error) {
		seq, _, c, err := openEntry(k, val)
		if err != nil {
			return false, err
		}
		v := parseEntry(&c)
		if c.bad {
			return false, corrupt(opRow, "the row of an entry is malformed")
		}
		h = HeadInfo{Seq: seq, MsgNo: v.msgNo, TimeMS: v.timeMS}
		return false, nil
	})
	return h, err
}

// visibleHead is the newest entry that the reader may see: for a former member
// the one that removed it, so that nothing tells how the conversation went on.
func (in *reading) visibleHead() (HeadInfo, error) {
	n := len(in.see.Intervals)
	if n == 0 {
		return HeadInfo{}, nil
	}
	last := in.see.Intervals[n-1]
	if last.To == 0 || last.To >= in.head.Seq {
		return in.head, nil
	}
	v, _, err := readEntry(in.r, &in.prefix, last.To)
	if err != nil {
		return HeadInfo{}, err
	}
	return HeadInfo{Seq: last.To, MsgNo: v.msgNo, TimeMS: v.timeMS}, nil
}

// ReadHead reads the newest entry's numbers, without a check of access.
func ReadHead(r fsm.Reader, group uint32, conv chat.ConvID) (HeadInfo, error) {
	in, err := open("head", r, group, conv, "", true)
	return in.head, err
}

// ReadVisibleHead reads the numbers of the newest entry that a user may see. A user
// who never was a member gets not_found.
func ReadVisibleHead(r fsm.Reader, group uint32, conv chat.ConvID, user chat.UserID) (HeadInfo, error) {
	in, err := open("head", r, group, conv, user, false)
	if err != nil {
		return HeadInfo{}, err
	}
	return in.visibleHead()
}

// ReadAccess reads what a user may do and see. A user who never was a member
// gets not_found, as for a conversation that does not exist.
func ReadAccess(r fsm.Reader, group uint32, conv chat.ConvID, user chat.UserID) (Access, error) {
	in, err := open("access", r, group, conv, user, false)
	return in.see, err
}

// ReadInfo reads the head of a conversation as a current member sees it.
func ReadInfo(r fsm.Reader, group uint32, conv chat.ConvID, user chat.UserID) (chat.Info, error) {
	in, err := open("info", r, group, conv, user, false)
	if err != nil {
		return chat.Info{}, err
	}
	if in.see.Role == chat.NoRole {
		return chat.Info{}, notFound("info")
	}
	t, err := loadTail(r, &in.prefix, in.row.id)
	if err != nil {
		return chat.Info{}, err
	}
	list, err := in.members("", chat.InfoMembersMax)
	return chat.Info{
		Conv: in.row.id, Kind: in.row.kind, Title: in.row.title, Policy: in.row.policy,
		Head: t.seq, MsgNo: t.msgNo, TimeMS: t.timeMS, Root: t.tree.Root(), Role: in.see.Role,
		MemberCount: in.row.members, Members: list,
	}, err
}

// ReadMembers reads up to limit current members with ids after `after`, in the
// order of their ids, for a current member.
func ReadMembers(r fsm.Reader, group uint32, conv chat.ConvID, user, after chat.UserID, limit int) ([]chat.Member, error) {
	in, err := open("members", r, group, conv, user, false)
	if err != nil {
		return nil, err
	}
	if in.see.Role == chat.NoRole {
		return nil, notFound("members")
	}
	if limit <= 0 || limit > chat.InfoMembersMax {
		limit = chat.InfoMembersMax
	}
	return in.members(after, limit)
}

// members passes over the rows of former members, of which there may be many
// more: it stops at the last current one, as far as the count tells which that is.
func (in *reading) members(after chat.UserID, limit int) ([]chat.Member, error) {
	lower := in.prefix.appendKind(nil, kindMember)
	start := len(lower)
	if after != "" {
		lower = append(append(lower, after...), 0)
	} else {
		limit = min(limit, in.row.members)
	}
	var list []chat.Member
	err := in.r.Scan(lower, in.prefix.appendKind(nil, kindMember+1), false, func(k, val []byte) (bool, error) {
		body, err := fsm.Open(k, val)
		if err != nil {
			return false, err
		}
		row, err := decodeMemberRow(body)
		if err != nil {
			return false, err
		}
		if row.role != chat.NoRole {
			list = append(list, chat.Member{User: chat.UserID(k[start:]), Role: row.role, Seq: row.seq})
		}
		return len(list) < limit, nil
	})
	return list, err
}
