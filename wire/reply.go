package wire

import "github.com/chatnode/chatnode/chat"

// ResumeMax bounds the list of cursors in a bye.
const ResumeMax = 1000

// Reply reads the next object as a node frame. The slices of rep are used
// again. A type that this program does not know is an error with the code
// unknown_type, which a client should ignore.
func (d *Decoder) Reply(rep *Reply) error {
	*rep = Reply{
		Entries: rep.Entries[:0], Resume: rep.Resume[:0],
		Info: chat.Info{Members: rep.Info.Members[:0]}, Proof: ProofReply{Path: rep.Proof.Path[:0]},
	}
	d.rep = rep
	var seen fieldSet
	if err := d.object(&seen, replyField); err != nil {
		return err
	}
	rep.fill()
	if rep.Type < Welcome && rep.Type != Info && rep.Type != Proof {
		return chat.E("decode", chat.UnknownType, "no node frame has this type", nil)
	}
	return nil
}

// Body reads a whole HTTP body as a reply of type t.
func (rep *Reply) Body(t Type, body string) error {
	d := NewDecoder(body)
	*rep = Reply{}
	d.rep = rep
	d.Next()
	var seen fieldSet
	if err := d.object(&seen, replyField); err != nil {
		return err
	}
	rep.Type = t
	rep.fill()
	return nil
}

// fill copies what one field means for several places.
func (rep *Reply) fill() {
	for i := range rep.Entries {
		rep.Entries[i].Conv = rep.Conv
	}
	switch rep.Type {
	case Pong:
		rep.TimeMS = rep.Ack.TimeMS
	case Welcome:
		rep.Hello.TimeMS = rep.Ack.TimeMS
	case Info:
		i := &rep.Info
		i.Conv, i.Head, i.MsgNo, i.TimeMS, i.Root = rep.Conv, rep.Head, rep.Ack.MsgNo, rep.Ack.TimeMS, rep.Ack.Root
	case Proof:
		p := &rep.Proof
		p.Conv, p.Seq, p.Root = rep.Conv, rep.Ack.Seq, rep.Ack.Root
	}
	if rep.Type != Ack {
		rep.Ack = chat.Ack{}
	}
}

func replyField(d *Decoder, name string, seen *fieldSet) error {
	r := d.rep
	f, ok := replyFields(name)
	if !ok {
		return d.skip()
	}
	if !seen.add(f) {
		return d.wrong(name, "is given twice")
	}
	switch f {
	case fType:
		var s string
		err := d.string(name, &s)
		r.Type = parseType(s)
		return err
	case fRef:
		return d.uint(name, &r.Ref)
	case fConv:
		return d.string(name, (*string)(&r.Conv))
	case fSeq:
		return d.seq(name, &r.Ack.Seq)
	case fMsgNo:
		return d.uint(name, (*uint64)(&r.Ack.MsgNo))
	case fTime:
		return d.time(name, &r.Ack.TimeMS)
	case fRoot:
		return d.hash(name, &r.Ack.Root)
	case fDup:
		return d.bool(name, &r.Ack.Dup)
	case fHead:
		return d.seq(name, &r.Head)
	case fEntries:
		return d.entries(name)
	}
	return d.rareReply(f, name)
}

func replyFields(name string) (field, bool) {
	for i := range replyFieldNames {
		if replyFieldNames[i].name == name {
			return replyFieldNames[i].f, true
		}
	}
	return 0, false
}

// The frequent ones first.
var replyFieldNames = [...]struct {
	name string
	f    field
}{
	{"type", fType}, {"ref", fRef}, {"seq", fSeq}, {"msg_no", fMsgNo}, {"time", fTime}, {"root", fRoot},
	{"conv", fConv}, {"head", fHead}, {"entries", fEntries}, {"dup", fDup}, {"code", fCode}, {"message", fMessage},
	{"retry_after_ms", fRetryAfter}, {"resume", fResume}, {"from", fFrom}, {"more", fMore}, {"user", fUser},
	{"device", fDevice}, {"session", fSession}, {"node", fNode}, {"version", fVersion}, {"expires", fExpires},
	{"limits", fLimits}, {"kind", fKind}, {"title", fTitle}, {"policy", fPolicy}, {"members", fMembers},
	{"role", fRole}, {"member_count", fMemberCount}, {"size", fSize}, {"leaf", fLeaf}, {"from_size", fFromSize},
	{"from_root", fFromRoot}, {"path", fPath},
}

func (d *Decoder) rareReply(f field, name string) error {
	r := d.rep
	switch f {
	case fCode:
		return d.string(name, (*string)(&r.Code))
	case fMessage:
		return d.string(name, &r.Message)
	case fRetryAfter:
		return d.uint(name, &r.RetryAfterMS)
	case fResume:
		return d.resume(name)
	case fFrom:
		return d.seq(name, &r.From)
	case fMore:
		return d.bool(name, &r.More)
	case fKind:
		return d.kind(name, &r.Info.Kind)
	case fTitle:
		return d.string(name, &r.Info.Title)
	case fPolicy:
		return d.policy(name, &r.Info.Policy)
	case fMembers:
		return d.members(name)
	case fRole:
		return d.role(name, &r.Info.Role)
	case fMemberCount:
		var n uint64
		err := d.uint(name, &n)
		r.Info.MemberCount = int(n)
		return err
	case fSize:
		return d.seq(name, &r.Proof.Size)
	case fLeaf:
		return d.hash(name, &r.Proof.Leaf)
	case fFromSize:
		return d.seq(name, &r.Proof.FromSize)
	case fFromRoot:
		return d.hash(name, &r.Proof.FromRoot)
	case fPath:
		return d.path(name)
	}
	return d.welcomeField(f, name)
}

func (d *Decoder) welcomeField(f field, name string) error {
	w := &d.rep.Hello
	switch f {
	case fUser:
		return d.string(name, (*string)(&w.User))
	case fDevice:
		return d.string(name, (*string)(&w.Device))
	case fSession:
		return d.string(name, &w.Session)
	case fNode:
		return d.string(name, &w.Node)
	case fVersion:
		return d.uint(name, &w.Version)
	case fExpires:
		return d.time(name, &w.ExpiresMS)
	default: // fLimits
		return d.record(name, limitField)
	}
}

func limitField(d *Decoder, name string, _ *fieldSet) error {
	for _, f := range limitFields {
		if f.name == name {
			return d.uint(name, f.of(&d.rep.Hello.Limits))
		}
	}
	return d.skip()
}

func (d *Decoder) role(name string, v *chat.Role) error {
	var s string
	if err := d.string(name, &s); err != nil {
		return err
	}
	r, ok := ParseRole(s)
	if !ok {
		return invalid(name + " is no role")
	}
	*v = r
	return nil
}

func (d *Decoder) members(name string) error {
	return d.list(name, MembersMax, func() error {
		var m memberPair
		if err := d.member(name, &m); err != nil {
			return err
		}
		role, ok := ParseRole(m.role)
		if !ok {
			return invalid("role is no role")
		}
		d.rep.Info.Members = append(d.rep.Info.Members, chat.Member{User: chat.UserID(m.user), Role: role, Seq: m.seq})
		return nil
	})
}

func (d *Decoder) resume(name string) error {
	return d.list(name, ResumeMax, func() error {
		d.rep.Resume = append(d.rep.Resume, Cursor{})
		return d.record(name, cursorField)
	})
}

func cursorField(d *Decoder, name string, seen *fieldSet) error {
	c := &d.rep.Resume[len(d.rep.Resume)-1]
	switch name {
	case "conv":
		if !seen.add(fConv) {
			return d.wrong(name, "is given twice")
		}
		return d.string(name, (*string)(&c.Conv))
	case "seq":
		if !seen.add(fSeq) {
			return d.wrong(name, "is given twice")
		}
		return d.seq(name, &c.Seq)
	}
	return d.skip()
}

func (d *Decoder) path(name string) error {
	return d.list(name, HashesMax, func() error {
		var h chat.Hash
		if err := d.hash(name, &h); err != nil {
			return err
		}
		d.rep.Proof.Path = append(d.rep.Proof.Path, h)
		return nil
	})
}
