package fsmtest

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm"
)

// Model is the dumb twin of the conversation machine: every conversation is a
// list of entries, and everything else is found by walking the list. It states
// the rules a second time, for reading rather than for speed.
type Model struct {
	Convs map[chat.ConvID]*Conversation
}

// NewModel makes a model without conversations.
func NewModel() *Model { return &Model{Convs: map[chat.ConvID]*Conversation{}} }

// Conversation is the log of one conversation.
type Conversation struct {
	Entries []chat.Entry
	Refused map[chat.UserID][]Refusal // by the state, not by the command alone
	leaves  []chat.Hash
}

// Span is a run of entries that a user may see, To 0 while it is open.
type Span struct{ From, To chat.Seq }

// Standing is what the log says of a user.
type Standing struct {
	Role  chat.Role
	Seq   chat.Seq // of the newest entry about the user
	Spans []Span
}

// Standings walks the log for who is and was a member.
func (c *Conversation) Standings() map[chat.UserID]*Standing {
	all := map[chat.UserID]*Standing{}
	policy := c.Entries[0].Body.Policy
	for _, e := range c.Entries {
		for _, ch := range e.Body.Changes {
			s := all[ch.User]
			if s == nil {
				s = &Standing{}
				all[ch.User] = s
			}
			switch e.Type {
			case chat.Created:
				s.Spans = []Span{{From: 1}}
			case chat.MemberAdded:
				if policy == chat.AllHistory {
					s.Spans = []Span{{From: 1}}
				} else {
					s.Spans = append(s.Spans, Span{From: e.Seq})
				}
			case chat.MemberRemoved:
				s.Spans[len(s.Spans)-1].To = e.Seq
			}
			s.Role, s.Seq = ch.Role, e.Seq
		}
	}
	return all
}

// Visible are the entries that a user may see.
func (c *Conversation) Visible(u chat.UserID) (out []chat.Entry) {
	s := c.Standings()[u]
	if s == nil {
		return nil
	}
	for _, e := range c.Entries {
		for _, sp := range s.Spans {
			if e.Seq >= sp.From && (sp.To == 0 || e.Seq <= sp.To) {
				out = append(out, e)
			}
		}
	}
	return out
}

// Root is the tree hash of RFC 6962 over the first n entries.
func (c *Conversation) Root(n int) chat.Hash {
	for i := len(c.leaves); i < len(c.Entries); i++ {
		c.leaves = append(c.leaves, chat.LeafHash(&c.Entries[i]))
	}
	return treeHash(c.leaves[:n])
}

func treeHash(l []chat.Hash) chat.Hash {
	switch len(l) {
	case 0:
		return sha256.Sum256(nil)
	case 1:
		return l[0]
	}
	k := 1
	for 2*k < len(l) {
		k *= 2
	}
	left, right := treeHash(l[:k]), treeHash(l[k:])
	return sha256.Sum256(append(append([]byte{1}, left[:]...), right[:]...))
}

const (
	day     = int64(24 * 60 * 60 * 1000)
	oldAge  = 7 * day
	keepAge = 8 * day
)

// Check applies a command to the model and compares the answer that a machine
// gave. Where an id may or may not be forgotten already, it follows the machine.
func (m *Model) Check(ms int64, salt chat.Salt, cmd fsm.Command, got fsm.Result) error {
	want := m.apply(ms, salt, cmd, got)
	got.Msg = ""
	if got.Code != want.Code || got.Ack != want.Ack {
		return fmt.Errorf("%T %.300v at %d:\ngot  %+v\nwant %+v", cmd, cmd, ms, got, want)
	}
	return nil
}

func refuse(c chat.Code) fsm.Result { return fsm.Result{Code: c} }

func (m *Model) apply(ms int64, salt chat.Salt, cmd fsm.Command, got fsm.Result) fsm.Result {
	switch c := cmd.(type) {
	case fsm.Append:
		return m.append(ms, salt, c, got)
	case fsm.Create:
		return m.create(ms, salt, c, got)
	case fsm.ChangeMembers:
		return m.changeMembers(ms, salt, c, got)
	default:
		return fsm.Result{}
	}
}

// now is the time of an entry that would come next.
func (c *Conversation) now(ms int64) int64 { return max(ms, c.Entries[len(c.Entries)-1].TimeMS) }

// find is the entry of an earlier command, or nil.
func (c *Conversation) find(ms int64, sender chat.UserID, id chat.ClientID, got fsm.Result) *chat.Entry {
	for i := len(c.Entries) - 1; i >= 0; i-- {
		e := &c.Entries[i]
		if e.Sender != sender || e.ClientID != id || id == (chat.ClientID{}) {
			continue
		}
		if c.now(ms)-e.TimeMS > keepAge && !got.Ack.Dup && got.Code != chat.Conflict {
			return nil // forgotten
		}
		return e
	}
	return nil
}

func (c *Conversation) ack(seq chat.Seq, dup bool) fsm.Result {
	e := c.Entries[seq-1]
	return fsm.Result{Ack: chat.Ack{Seq: seq, MsgNo: e.MsgNo, TimeMS: e.TimeMS, Root: c.Root(int(seq)), Dup: dup}}
}

func (c *Conversation) add(ms int64, salt chat.Salt, e chat.Entry) fsm.Result {
	e.Seq, e.TimeMS, e.Salt = chat.Seq(len(c.Entries)+1), ms, salt
	if n := len(c.Entries); n > 0 {
		e.TimeMS, e.MsgNo = c.now(ms), c.Entries[n-1].MsgNo
	}
	if e.Type == chat.Message {
		e.MsgNo++
	}
	c.Entries = append(c.Entries, e)
	return c.ack(e.Seq, false)
}

func badID(id chat.ClientID, now int64) chat.Code {
	ms, timed := id.TimeMS()
	switch {
	case id == (chat.ClientID{}):
		return chat.Invalid
	case timed && ms < now-oldAge:
		return chat.Expired
	case timed && ms > now+day:
		return chat.Invalid
	}
	return chat.OK
}

func badMessage(c fsm.Append) chat.Code {
	switch {
	case !chat.ValidID(string(c.Device)), c.Text == "", len(c.ContentType) > chat.ContentTypeMax:
		return chat.Invalid
	case len(c.Text) > chat.TextBytesMax:
		return chat.TooLarge
	case !utf8.ValidString(c.Text):
		return chat.InvalidUTF8
	case utf8.RuneCountInString(c.Text) > chat.TextRunesMax:
		return chat.TooLarge
	}
	return chat.OK
}

func (m *Model) append(ms int64, salt chat.Salt, c fsm.Append, got fsm.Result) fsm.Result {
	if c.Direct != "" && c.Conv != chat.DirectID(c.Sender, c.Direct) {
		return refuse(chat.Invalid)
	}
	conv := m.Convs[c.Conv]
	message := chat.Entry{
		Conv: c.Conv, Sender: c.Sender, Device: c.Device, ClientID: c.ClientID, Type: chat.Message,
		Body: chat.Body{ContentType: c.ContentType, Text: c.Text},
	}
	if conv == nil {
		return m.first(ms, salt, c, message)
	}
	if e := conv.find(ms, c.Sender, c.ClientID, got); e != nil {
		if e.Type != chat.Message || e.Body.Text != c.Text || e.Body.ContentType != c.ContentType {
			return refuse(chat.Conflict)
		}
		return conv.ack(e.Seq, true)
	}
	if code := badID(c.ClientID, conv.now(ms)); code != chat.OK {
		return refuse(code)
	}
	if code := conv.refused(c.Sender, c.ClientID); code != chat.OK {
		return refuse(code)
	}
	if c.After != (chat.ClientID{}) && conv.find(ms, c.Sender, c.After, fsm.Result{Ack: chat.Ack{Dup: got.Code != chat.PredecessorAbsent}}) == nil {
		return refuse(chat.PredecessorAbsent)
	}
	s := conv.Standings()[c.Sender]
	switch {
	case s == nil || s.Role == chat.NoRole:
		return conv.refuse(c.Sender, c.ClientID, chat.NotFound)
	case s.Role < chat.Writer:
		return conv.refuse(c.Sender, c.ClientID, chat.Forbidden)
	}
	if code := badMessage(c); code != chat.OK {
		return refuse(code)
	}
	return conv.add(ms, salt, message)
}

// first is a message to a conversation that is not there yet.
func (m *Model) first(ms int64, salt chat.Salt, c fsm.Append, message chat.Entry) fsm.Result {
	if c.Direct == "" {
		return refuse(chat.NotFound)
	}
	if code := badID(c.ClientID, ms); code != chat.OK {
		return refuse(code)
	}
	if c.After != (chat.ClientID{}) {
		return refuse(chat.PredecessorAbsent)
	}
	if code := badMessage(c); code != chat.OK {
		return refuse(code)
	}
	if c.Sender == c.Direct || !chat.ValidUserID(string(c.Sender)) || !chat.ValidUserID(string(c.Direct)) {
		return refuse(chat.Invalid)
	}
	conv := &Conversation{}
	m.Convs[c.Conv] = conv
	conv.add(ms, salt, chat.Entry{
		Conv: c.Conv, Sender: c.Sender, Device: c.Device, Type: chat.Created,
		Body: directBody(c.Sender, c.Direct),
	})
	return conv.add(ms, salt, message)
}

func directBody(a, b chat.UserID) chat.Body {
	return chat.Body{
		Kind: chat.Direct, Policy: chat.FromJoin, MembersMax: 2,
		Changes: []chat.Change{{User: a, Role: chat.Writer}, {User: b, Role: chat.Writer}},
	}
}

// creationOf is the first entry of a creation, if it is one.
func creationOf(c fsm.Create) (chat.Entry, chat.Code) {
	e := chat.Entry{Conv: c.Conv, Sender: c.Creator, Device: c.Device, ClientID: c.ClientID, Type: chat.Created}
	switch {
	case !chat.ValidID(string(c.Conv)), !chat.ValidUserID(string(c.Creator)), !chat.ValidID(string(c.Device)), c.Policy > chat.AllHistory:
		return e, chat.Invalid
	case len(c.Title) > chat.TitleBytesMax:
		return e, chat.TooLarge
	case !utf8.ValidString(c.Title):
		return e, chat.InvalidUTF8
	case len(c.Members) > chat.MembersPerCommand:
		return e, chat.TooLarge
	}
	others := slices.DeleteFunc(slices.Clone(c.Members), func(ch chat.Change) bool { return ch.User == c.Creator })
	if c.Kind == chat.Direct {
		if len(others) != 1 || !chat.ValidUserID(string(others[0].User)) || c.Conv != chat.DirectID(c.Creator, others[0].User) ||
			c.Title != "" || c.MembersMax > 2 {
			return e, chat.Invalid
		}
		e.Body = directBody(c.Creator, others[0].User)
		return e, chat.OK
	}
	most := map[chat.Kind]uint32{chat.Group: 500, chat.Channel: 10_000}[c.Kind]
	usual := map[chat.Kind]uint32{chat.Group: 100, chat.Channel: 10_000}[c.Kind]
	if most == 0 || strings.HasPrefix(string(c.Conv), "d~") {
		return e, chat.Invalid
	}
	if c.MembersMax > most {
		return e, chat.TooLarge
	}
	if c.MembersMax == 0 {
		c.MembersMax = usual
	}
	seen := map[chat.UserID]bool{}
	for _, ch := range c.Members {
		if !chat.ValidUserID(string(ch.User)) || ch.Role == chat.NoRole || ch.Role > chat.Owner || (seen[ch.User] && ch.User != c.Creator) {
			return e, chat.Invalid
		}
		seen[ch.User] = true
	}
	if len(others)+1 > int(c.MembersMax) {
		return e, chat.MemberLimit
	}
	e.Body = chat.Body{
		Title: c.Title, Kind: c.Kind, Policy: max(c.Policy, chat.FromJoin), MembersMax: c.MembersMax,
		Changes: append([]chat.Change{{User: c.Creator, Role: chat.Owner}}, others...),
	}
	return e, chat.OK
}

func (m *Model) create(ms int64, salt chat.Salt, c fsm.Create, got fsm.Result) fsm.Result {
	e, code := creationOf(c)
	if code != chat.OK {
		return refuse(code)
	}
	conv := m.Convs[c.Conv]
	if conv == nil {
		if code := badID(c.ClientID, ms); code != chat.OK {
			return refuse(code)
		}
		conv = &Conversation{}
		m.Convs[c.Conv] = conv
		return conv.add(ms, salt, e)
	}
	there := conv.Entries[0]
	if c.Kind == chat.Direct || (there.Sender == e.Sender && sameBody(there.Body, e.Body)) {
		return conv.ack(1, true)
	}
	if conv.find(ms, c.Creator, c.ClientID, got) != nil {
		return refuse(chat.Conflict)
	}
	return refuse(chat.Exists)
}

func sameBody(a, b chat.Body) bool {
	return a.Title == b.Title && a.Kind == b.Kind && a.Policy == b.Policy && a.MembersMax == b.MembersMax &&
		a.Text == b.Text && a.ContentType == b.ContentType && slices.Equal(a.Changes, b.Changes)
}

func (m *Model) changeMembers(ms int64, salt chat.Salt, c fsm.ChangeMembers, got fsm.Result) fsm.Result {
	conv := m.Convs[c.Conv]
	if conv == nil {
		return refuse(chat.NotFound)
	}
	if e := conv.find(ms, c.Actor, c.ClientID, got); e != nil {
		if e.Type == chat.Message || e.Type == chat.Created || !slices.Equal(e.Body.Changes, c.Changes) {
			return refuse(chat.Conflict)
		}
		return conv.ack(e.Seq, true)
	}
	if code := badID(c.ClientID, conv.now(ms)); code != chat.OK {
		return refuse(code)
	}
	if code := conv.refused(c.Actor, c.ClientID); code != chat.OK {
		return refuse(code)
	}
	all := conv.Standings()
	actor := all[c.Actor]
	if actor == nil || actor.Role == chat.NoRole {
		return conv.refuse(c.Actor, c.ClientID, chat.NotFound)
	}
	if conv.Entries[0].Body.Kind == chat.Direct {
		return refuse(chat.FixedMembers)
	}
	if !chat.ValidID(string(c.Device)) || len(c.Changes) == 0 {
		return refuse(chat.Invalid)
	}
	if len(c.Changes) > chat.MembersPerCommand {
		return refuse(chat.TooLarge)
	}
	seen := map[chat.UserID]bool{}
	for _, ch := range c.Changes {
		if !chat.ValidUserID(string(ch.User)) || ch.Role > chat.Owner || seen[ch.User] {
			return refuse(chat.Invalid)
		}
		seen[ch.User] = true
	}
	typ, code := judge(all, c)
	if code != chat.OK {
		return conv.refuse(c.Actor, c.ClientID, code)
	}
	members, owners := 0, 0
	for u, s := range all {
		if !seen[u] {
			members, owners = count(members, owners, s.Role)
		}
	}
	for _, ch := range c.Changes {
		members, owners = count(members, owners, ch.Role)
	}
	switch {
	case members > int(conv.Entries[0].Body.MembersMax):
		return conv.refuse(c.Actor, c.ClientID, chat.MemberLimit)
	case members > 0 && owners == 0:
		return conv.refuse(c.Actor, c.ClientID, chat.LastOwner)
	}
	return conv.add(ms, salt, chat.Entry{
		Conv: c.Conv, Sender: c.Actor, Device: c.Device, ClientID: c.ClientID, Type: typ, Body: chat.Body{Changes: c.Changes},
	})
}

func count(members, owners int, r chat.Role) (int, int) {
	if r != chat.NoRole {
		members++
	}
	if r == chat.Owner {
		owners++
	}
	return members, owners
}

// judge walks the changes in order and stops at the first that is refused.
func judge(all map[chat.UserID]*Standing, c fsm.ChangeMembers) (typ chat.EntryType, code chat.Code) {
	actor := all[c.Actor].Role
	for _, ch := range c.Changes {
		was := Standing{}
		if s := all[ch.User]; s != nil {
			was = *s
		}
		var t chat.EntryType
		switch {
		case was.Role == ch.Role && ch.Role == chat.NoRole:
			return 0, chat.NotMember
		case was.Role == ch.Role:
			return 0, chat.AlreadyMember
		case ch.Role == chat.NoRole:
			t = chat.MemberRemoved
		case was.Role == chat.NoRole:
			t = chat.MemberAdded
		default:
			t = chat.RoleChanged
		}
		if typ != 0 && t != typ {
			return 0, chat.Invalid
		}
		typ = t
		allowed := actor == chat.Owner ||
			(t == chat.MemberRemoved && ch.User == c.Actor) ||
			(actor == chat.Admin && t == chat.MemberRemoved && was.Role < chat.Admin) ||
			(actor == chat.Admin && t == chat.MemberAdded && ch.Role < chat.Admin)
		if !allowed {
			return 0, chat.Forbidden
		}
		if t == chat.MemberAdded && len(was.Spans) >= chat.RejoinsMax {
			return 0, chat.MemberLimit
		}
	}
	return typ, chat.OK
}

// Names are the conversations in order.
func (m *Model) Names() []chat.ConvID {
	return slices.Sorted(maps.Keys(m.Convs))
}
