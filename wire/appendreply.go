package wire

import (
	"strconv"

	"github.com/chatnode/chatnode/chat"
)

// AppendAck appends an ack. conv is given where the client did not name it.
func AppendAck(dst []byte, ref uint64, conv chat.ConvID, a *chat.Ack) []byte {
	dst = append(dst, `{"type":"ack"`...)
	dst = optUint(dst, "ref", ref)
	dst = optText(dst, "conv", string(conv))
	return append(appendAckFields(dst, a), '}')
}

func appendAckFields(dst []byte, a *chat.Ack) []byte {
	dst = append(dst, `,"seq":`...)
	dst = strconv.AppendUint(dst, uint64(a.Seq), 10)
	dst = append(dst, `,"msg_no":`...)
	dst = strconv.AppendUint(dst, uint64(a.MsgNo), 10)
	dst = append(dst, `,"time":`...)
	dst = strconv.AppendInt(dst, a.TimeMS, 10)
	dst = append(dst, `,"root":`...)
	dst = appendHexValue(dst, a.Root[:])
	return optBool(dst, "dup", a.Dup)
}

// AppendError appends an error that answers ref, 0 for none.
func AppendError(dst []byte, ref uint64, code chat.Code, msg string, retryAfterMS uint64) []byte {
	dst = begin(dst, Error, ref)
	dst = appendText(dst, "code", string(code))
	dst = appendText(dst, "message", msg)
	dst = optUint(dst, "retry_after_ms", retryAfterMS)
	return append(dst, '}')
}

// AppendEntry appends one entry without its conversation.
func AppendEntry(dst []byte, e *chat.Entry) []byte {
	dst = append(dst, `{"seq":`...)
	dst = strconv.AppendUint(dst, uint64(e.Seq), 10)
	dst = append(dst, `,"msg_no":`...)
	dst = strconv.AppendUint(dst, uint64(e.MsgNo), 10)
	dst = append(dst, `,"time":`...)
	dst = strconv.AppendInt(dst, e.TimeMS, 10)
	dst = append(dst, `,"sender":`...)
	dst = AppendString(dst, string(e.Sender))
	dst = optText(dst, "device", string(e.Device))
	dst = optID(dst, "id", e.ClientID)
	dst = append(dst, `,"type":"`...)
	dst = append(dst, EntryTypeName(e.Type)...)
	dst = append(dst, '"')
	dst = optUint(dst, "target", uint64(e.Target))
	dst = append(dst, `,"salt":`...)
	dst = appendHexValue(dst, e.Salt[:])
	b := &e.Body
	dst = optText(dst, "kind", KindName(b.Kind))
	dst = optText(dst, "policy", PolicyName(b.Policy))
	dst = optText(dst, "title", b.Title)
	dst = optUint(dst, "members_max", uint64(b.MembersMax))
	if len(b.Changes) > 0 {
		dst = appendChanges(dst, "changes", b.Changes)
	}
	dst = optText(dst, "content_type", b.ContentType)
	dst = optText(dst, "text", b.Text)
	return append(dst, '}')
}

// OpenEntries appends an entries frame up to the bracket of its list; what
// follows is entries with commas between, and [CloseEntries].
func OpenEntries(dst []byte, conv chat.ConvID, head chat.Seq) []byte {
	dst = append(dst, `{"type":"entries","conv":`...)
	dst = AppendString(dst, string(conv))
	dst = append(dst, `,"head":`...)
	dst = strconv.AppendUint(dst, uint64(head), 10)
	return append(dst, `,"entries":[`...)
}

// CloseEntries ends what OpenEntries began.
func CloseEntries(dst []byte) []byte { return append(dst, ']', '}') }

// AppendReply appends any node frame.
func AppendReply(dst []byte, r *Reply) []byte {
	switch r.Type {
	case Ack:
		return AppendAck(dst, r.Ref, r.Conv, &r.Ack)
	case Error:
		return AppendError(dst, r.Ref, r.Code, r.Message, r.RetryAfterMS)
	}
	return append(appendFields(begin(dst, r.Type, r.Ref), r), '}')
}

// AppendBody appends a reply as an HTTP body: its fields without type and ref.
func AppendBody(dst []byte, r *Reply) []byte {
	at := len(dst)
	dst = appendFields(dst, r)
	if len(dst) == at {
		return append(dst, '{', '}')
	}
	dst[at] = '{' // in the place of the first comma
	return append(dst, '}')
}

func appendFields(dst []byte, r *Reply) []byte {
	switch r.Type {
	case Welcome:
		return appendWelcome(dst, &r.Hello)
	case Info:
		return appendInfo(dst, &r.Info)
	case Proof:
		return appendProof(dst, &r.Proof)
	case Pong:
		return appendUint(dst, "time", uint64(r.TimeMS))
	case Bye:
		return appendBye(dst, r)
	}
	dst = optText(dst, "conv", string(r.Conv))
	switch r.Type {
	case Ack:
		dst = appendAckFields(dst, &r.Ack)
	case Entries, Page:
		dst = appendUint(dst, "head", uint64(r.Head))
		dst = optBool(dst, "more", r.More)
		dst = append(appendName(dst, "entries"), '[')
		for i := range r.Entries {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = AppendEntry(dst, &r.Entries[i])
		}
		dst = append(dst, ']')
	case Subscribed:
		dst = appendUint(dst, "head", uint64(r.Head))
		dst = appendUint(dst, "from", uint64(r.From))
	case Unsubscribed:
		dst = optText(dst, "code", string(r.Code))
	}
	return dst
}

func appendWelcome(dst []byte, w *WelcomeBody) []byte {
	dst = appendText(dst, "user", string(w.User))
	dst = appendText(dst, "device", string(w.Device))
	dst = appendText(dst, "session", w.Session)
	dst = appendText(dst, "node", w.Node)
	dst = appendUint(dst, "version", w.Version)
	dst = appendUint(dst, "time", uint64(w.TimeMS))
	dst = optUint(dst, "expires", uint64(w.ExpiresMS))
	dst = append(appendName(dst, "limits"), '{')
	at := len(dst)
	l := &w.Limits
	for _, f := range limitFields {
		dst = appendUint(dst, f.name, *f.of(l))
	}
	dst = append(dst[:at], dst[at+1:]...) // the first comma
	return append(dst, '}')
}

var limitFields = [...]struct {
	name string
	of   func(*Limits) *uint64
}{
	{"frame_bytes", func(l *Limits) *uint64 { return &l.FrameBytes }},
	{"frame_objects", func(l *Limits) *uint64 { return &l.FrameObjects }},
	{"text_bytes", func(l *Limits) *uint64 { return &l.TextBytes }},
	{"text_runes", func(l *Limits) *uint64 { return &l.TextRunes }},
	{"unacked", func(l *Limits) *uint64 { return &l.Unacked }},
	{"subscriptions", func(l *Limits) *uint64 { return &l.Subscriptions }},
	{"page_entries", func(l *Limits) *uint64 { return &l.PageEntries }},
	{"page_bytes", func(l *Limits) *uint64 { return &l.PageBytes }},
	{"members_per_command", func(l *Limits) *uint64 { return &l.MembersPerCommand }},
}

// DefaultLimits are those of this program.
func DefaultLimits() Limits {
	return Limits{
		FrameBytes: FrameBytesMax, FrameObjects: FrameObjectsMax, TextBytes: chat.TextBytesMax,
		TextRunes: chat.TextRunesMax, Unacked: chat.UnackedPerConvMax, Subscriptions: 1000,
		PageEntries: chat.PageEntriesMax, PageBytes: chat.PageBytesMax, MembersPerCommand: chat.MembersPerCommand,
	}
}

func appendInfo(dst []byte, i *chat.Info) []byte {
	dst = appendText(dst, "conv", string(i.Conv))
	dst = appendText(dst, "kind", KindName(i.Kind))
	dst = optText(dst, "title", i.Title)
	dst = optText(dst, "policy", PolicyName(i.Policy))
	dst = appendUint(dst, "head", uint64(i.Head))
	dst = appendUint(dst, "msg_no", uint64(i.MsgNo))
	dst = appendUint(dst, "time", uint64(i.TimeMS))
	dst = appendHex(dst, "root", i.Root[:])
	if i.Role != chat.NoRole {
		dst = appendText(dst, "role", RoleName(i.Role))
	}
	dst = appendUint(dst, "member_count", uint64(i.MemberCount))
	dst = append(appendName(dst, "members"), '[')
	for n, m := range i.Members {
		if n > 0 {
			dst = append(dst, ',')
		}
		dst = AppendString(append(dst, `{"user":`...), string(m.User))
		dst = appendText(dst, "role", RoleName(m.Role))
		dst = append(appendUint(dst, "seq", uint64(m.Seq)), '}')
	}
	return append(dst, ']')
}

func appendProof(dst []byte, p *ProofReply) []byte {
	dst = appendText(dst, "conv", string(p.Conv))
	if p.Seq != 0 {
		dst = appendUint(dst, "seq", uint64(p.Seq))
		dst = appendHex(dst, "leaf", p.Leaf[:])
	} else {
		dst = appendUint(dst, "from_size", uint64(p.FromSize))
		dst = appendHex(dst, "from_root", p.FromRoot[:])
	}
	dst = appendUint(dst, "size", uint64(p.Size))
	dst = appendHex(dst, "root", p.Root[:])
	dst = append(appendName(dst, "path"), '[')
	for i := range p.Path {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendHexValue(dst, p.Path[i][:])
	}
	return append(dst, ']')
}

func appendBye(dst []byte, r *Reply) []byte {
	dst = appendText(dst, "code", string(r.Code))
	dst = appendText(dst, "message", r.Message)
	dst = optUint(dst, "retry_after_ms", r.RetryAfterMS)
	if len(r.Resume) == 0 {
		return dst
	}
	dst = append(appendName(dst, "resume"), '[')
	for i, c := range r.Resume {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = AppendString(append(dst, `{"conv":`...), string(c.Conv))
		dst = append(appendUint(dst, "seq", uint64(c.Seq)), '}')
	}
	return append(dst, ']')
}
