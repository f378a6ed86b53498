package wire

import (
	"unicode/utf8"

	"github.com/chatnode/chatnode/chat"
)

// Request reads the next object as a client frame. The error, if any, is a
// [*chat.Error]; req.Ref is set even then when the frame had one.
func (d *Decoder) Request(req *Request) error {
	changes := req.Changes[:0]
	*req = Request{Changes: changes}
	d.req = req
	if err := d.object(&req.has, requestField); err != nil {
		return err
	}
	if !req.has.has(fType) {
		return invalid("type is missing")
	}
	if req.Type == Unknown || req.Type > Ping {
		return chat.E("decode", chat.UnknownType, "no client frame has this type", nil)
	}
	return req.check()
}

// Body reads a whole HTTP body as the fields of a request of type t.
func (req *Request) Body(t Type, body string) error {
	d := NewDecoder(body)
	d.limit = 1
	*req = Request{Changes: req.Changes[:0]}
	d.req = req
	d.Next()
	if d.state == inArray {
		return invalid("the body is a JSON object")
	}
	if err := d.object(&req.has, requestField); err != nil {
		return err
	}
	req.Type = t
	return nil
}

// Check holds the request against what its type needs, as Decoder.Request does.
func (req *Request) Check() error { return req.check() }

func requestField(d *Decoder, name string, seen *fieldSet) error {
	r := d.req
	f, ok := requestFields(name)
	if !ok {
		return d.skip()
	}
	if seen.has(f) {
		return d.wrong(name, "is given twice")
	}
	if d.p.peek() == 'n' { // null is as good as absent
		return d.skip()
	}
	seen.add(f)
	switch f {
	case fType:
		return d.requestType(name)
	case fRef:
		return d.uint(name, &r.Ref)
	case fConv:
		return d.string(name, (*string)(&r.Conv))
	case fID:
		return d.clientID(name, &r.ID)
	case fAfter:
		if d.p.peek() == '"' {
			return d.clientID(name, &r.After)
		}
		r.Page = After
		return d.seq(name, &r.At)
	case fTo:
		return d.string(name, (*string)(&r.To))
	case fText:
		return d.string(name, &r.Text)
	case fContentType:
		return d.string(name, &r.ContentType)
	}
	return d.rareField(f, name)
}

func (d *Decoder) requestType(name string) error {
	var s string
	if err := d.string(name, &s); err != nil {
		return err
	}
	d.req.Type = parseType(s)
	return nil
}

func parseType(s string) Type {
	switch s { // the frequent ones first
	case "send":
		return Send
	case "ack":
		return Ack
	case "entries":
		return Entries
	case "":
		return Unknown
	}
	for t, n := range typeNames {
		if n == s {
			return Type(t)
		}
	}
	return Unknown
}

// requestFields gives the field of a name.
func requestFields(name string) (field, bool) {
	switch name {
	case "type":
		return fType, true
	case "ref":
		return fRef, true
	case "conv":
		return fConv, true
	case "id":
		return fID, true
	case "after":
		return fAfter, true
	case "to":
		return fTo, true
	case "text":
		return fText, true
	case "content_type":
		return fContentType, true
	}
	for i := range rareFields {
		if rareFields[i].name == name {
			return rareFields[i].f, true
		}
	}
	return 0, false
}

var rareFields = [...]struct {
	name string
	f    field
}{
	{"kind", fKind}, {"title", fTitle}, {"policy", fPolicy}, {"members", fMembers}, {"changes", fChanges},
	{"members_max", fMembersMax}, {"token", fToken}, {"device", fDevice}, {"version", fVersion}, {"from", fFrom},
	{"before", fBefore}, {"around", fAround}, {"limit", fLimit}, {"level", fLevel}, {"min_seq", fMinSeq},
	{"seq", fSeq}, {"size", fSize}, {"from_size", fFromSize},
}

func (d *Decoder) rareField(f field, name string) error {
	r := d.req
	switch f {
	case fKind:
		return d.kind(name, &r.Kind)
	case fTitle:
		return d.string(name, &r.Title)
	case fPolicy:
		return d.policy(name, &r.Policy)
	case fMembers, fChanges:
		return d.changes(name, &r.Changes, chat.MembersPerCommand)
	case fMembersMax:
		return d.uint(name, &r.MembersMax)
	case fToken:
		return d.string(name, &r.Token)
	case fDevice:
		return d.string(name, (*string)(&r.Device))
	case fVersion:
		return d.uint(name, &r.Version)
	case fFrom:
		return d.seq(name, &r.From)
	case fBefore:
		r.Page = Before
		return d.seq(name, &r.At)
	case fAround:
		r.Page = Around
		return d.seq(name, &r.At)
	case fLimit:
		return d.uint(name, &r.Limit)
	case fLevel:
		return d.level(name, &r.Level)
	case fMinSeq:
		return d.seq(name, &r.MinSeq)
	case fSeq:
		return d.seq(name, &r.Seq)
	case fSize:
		return d.seq(name, &r.Size)
	default: // fFromSize
		return d.seq(name, &r.FromSize)
	}
}

func (d *Decoder) kind(name string, v *chat.Kind) error {
	var s string
	if err := d.string(name, &s); err != nil {
		return err
	}
	k, ok := ParseKind(s)
	if !ok {
		return invalid(name + " must be direct, group or channel")
	}
	*v = k
	return nil
}

func (d *Decoder) policy(name string, v *chat.HistoryPolicy) error {
	var s string
	if err := d.string(name, &s); err != nil {
		return err
	}
	p, ok := ParsePolicy(s)
	if !ok {
		return invalid(name + " must be from_join or all")
	}
	*v = p
	return nil
}

func (d *Decoder) level(name string, v *Level) error {
	var s string
	if err := d.string(name, &s); err != nil {
		return err
	}
	l, ok := ParseLevel(s)
	if !ok || s == "" {
		return invalid(name + " must be linearizable, leader or stale")
	}
	*v = l
	return nil
}

// changes reads a list of {user, role}.
func (d *Decoder) changes(name string, v *[]chat.Change, most int) error {
	return d.list(name, most, func() error {
		var m memberPair
		if err := d.member(name, &m); err != nil {
			return err
		}
		role, ok := ParseRole(m.role)
		if !ok {
			return invalid("role must be none, reader, writer, admin or owner")
		}
		*v = append(*v, chat.Change{User: chat.UserID(m.user), Role: role})
		return nil
	})
}

func (d *Decoder) member(name string, m *memberPair) error {
	d.pair = m
	return d.record(name, memberField)
}

func memberField(d *Decoder, name string, seen *fieldSet) error {
	var f field
	switch name {
	case "user":
		f = fUser
	case "role":
		f = fRole
	case "seq":
		f = fSeq
	default:
		return d.skip()
	}
	if !seen.add(f) {
		return d.wrong(name, "is given twice")
	}
	switch f {
	case fUser:
		return d.string(name, &d.pair.user)
	case fRole:
		return d.string(name, &d.pair.role)
	default:
		return d.seq(name, &d.pair.seq)
	}
}

// check says what a request of this type lacks, or has too much of.
func (req *Request) check() error {
	switch req.Type {
	case Hello:
		return req.checkHello()
	case Create:
		return req.checkCreate()
	case Send:
		return req.checkSend()
	case Members:
		return req.checkMembers()
	case Ping:
		return nil
	}
	if !chat.ValidID(string(req.Conv)) {
		return invalid("conv must be an id")
	}
	switch req.Type {
	case Subscribe:
		if req.has.has(fFrom) && req.From == 0 {
			return invalid("from starts at 1")
		}
	case History:
		return req.checkHistory()
	case Proof:
		if (req.Seq == 0) == (req.FromSize == 0) {
			return invalid("give seq or from_size, from 1 on")
		}
	}
	return nil
}

func (req *Request) checkHello() error {
	if len(req.Token) > TokenBytesMax {
		return chat.E("hello", chat.Unauthenticated, "the token does not hold", nil)
	}
	if req.Device != "" && !chat.ValidID(string(req.Device)) {
		return invalid("device must be an id")
	}
	if !req.has.has(fVersion) {
		req.Version = Version
	}
	if req.Version != Version {
		return chat.E("hello", chat.UnsupportedVer, "this node speaks version 1", nil)
	}
	return nil
}

func (req *Request) checkCreate() error {
	if req.ID.IsZero() {
		return invalid("id must be a UUID")
	}
	if req.Kind == 0 {
		return invalid("kind must be direct, group or channel")
	}
	if len(req.Title) > chat.TitleBytesMax {
		return chat.E("create", chat.TooLarge, "the title is too long", nil)
	}
	if req.MembersMax > chat.ChannelMembersMax {
		return invalid("members_max is too large")
	}
	if req.Kind == chat.Direct {
		if !chat.ValidUserID(string(req.To)) || req.Conv != "" || len(req.Changes) > 0 {
			return invalid("a direct conversation takes to, and neither conv nor members")
		}
		return nil
	}
	if !chat.ValidID(string(req.Conv)) || req.To != "" {
		return invalid("conv must be an id, and to is for direct conversations")
	}
	for _, c := range req.Changes {
		if !chat.ValidUserID(string(c.User)) || c.Role == chat.NoRole {
			return invalid("members need a user id and a role")
		}
	}
	return nil
}

func (req *Request) checkSend() error {
	switch {
	case req.ID.IsZero():
		return invalid("id must be a UUID")
	case (req.Conv == "") == (req.To == ""):
		return invalid("give conv or to")
	case req.To != "" && !chat.ValidUserID(string(req.To)):
		return invalid("to must be a user id")
	case req.Conv != "" && !chat.ValidID(string(req.Conv)):
		return invalid("conv must be an id")
	case !req.has.has(fText):
		return invalid("text is missing")
	case req.has.has(fAfter) && req.After.IsZero():
		return invalid("after must be a UUID")
	case len(req.ContentType) > chat.ContentTypeMax:
		return chat.E("send", chat.TooLarge, "the content type is too long", nil)
	case len(req.Text) > chat.TextBytesMax,
		len(req.Text) > chat.TextRunesMax && utf8.RuneCountInString(req.Text) > chat.TextRunesMax:
		return chat.E("send", chat.TooLarge, "the text is too long", nil)
	}
	return nil
}

func (req *Request) checkMembers() error {
	if req.ID.IsZero() {
		return invalid("id must be a UUID")
	}
	if !chat.ValidID(string(req.Conv)) {
		return invalid("conv must be an id")
	}
	if len(req.Changes) == 0 {
		return invalid("changes are missing")
	}
	for _, c := range req.Changes {
		if !chat.ValidUserID(string(c.User)) {
			return invalid("changes need a user id")
		}
	}
	return nil
}

func (req *Request) checkHistory() error {
	given := 0
	for _, f := range [...]field{fBefore, fAfter, fAround} {
		if req.has.has(f) {
			given++
		}
	}
	if given > 1 {
		return invalid("give one of before, after and around")
	}
	if !req.After.IsZero() {
		return invalid("after must be a seq")
	}
	if req.Limit > chat.PageEntriesMax {
		return invalid("limit is at most 200")
	}
	return nil
}
