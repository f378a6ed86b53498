package conv

import (
	"encoding/binary"
	"math"

	"github.com/chatnode/chatnode/chat"
)

// The stored form of an entry, without its conversation and seq, which the key
// or the surrounding message gives:
//
//	type u8 ‖ flags u8 ‖ time_ms uvarint ‖ msg_no uvarint ‖ [target uvarint] ‖
//	sender str8 ‖ device str8 ‖ client_id 16 ‖ salt 16 ‖
//	content_type str8 ‖ text str ‖ [title str ‖ kind u8 ‖ policy u8 ‖
//	members_max uvarint ‖ count uvarint ‖ count × { user str8 ‖ role u8 }]
const (
	flagTarget = 1 << 0
	flagFields = 1 << 1 // the part behind the text is there
	flagsKnown = flagTarget | flagFields
)

// changesMax bounds the changes in a stored entry: a creation's members.
const changesMax = chat.MembersPerCommand + 1

// view is a stored entry taken apart without a copy.
type view[T bytestring] struct {
	typ         chat.EntryType
	timeMS      int64
	msgNo       chat.MsgNo
	target      chat.Seq
	sender      T
	device      T
	clientID    chat.ClientID
	salt        chat.Salt
	contentType T
	text        T
	title       T
	kind        chat.Kind
	policy      chat.HistoryPolicy
	membersMax  uint32
	changes     int
	changesRaw  T
}

// appendView encodes an entry.
func appendView[T bytestring](dst []byte, v *view[T]) []byte {
	var flags byte
	if v.target != 0 {
		flags |= flagTarget
	}
	fields := len(v.title) > 0 || v.kind != 0 || v.policy != 0 || v.membersMax != 0 || v.changes > 0
	if fields {
		flags |= flagFields
	}
	dst = append(dst, byte(v.typ), flags)
	dst = binary.AppendUvarint(dst, uint64(v.timeMS))
	dst = binary.AppendUvarint(dst, uint64(v.msgNo))
	if v.target != 0 {
		dst = binary.AppendUvarint(dst, uint64(v.target))
	}
	dst = appendStr8(dst, v.sender)
	dst = appendStr8(dst, v.device)
	dst = append(dst, v.clientID[:]...)
	dst = append(dst, v.salt[:]...)
	dst = appendStr8(dst, v.contentType)
	dst = appendStr(dst, v.text)
	if fields {
		dst = appendStr(dst, v.title)
		dst = append(dst, byte(v.kind), byte(v.policy))
		dst = binary.AppendUvarint(dst, uint64(v.membersMax))
		dst = binary.AppendUvarint(dst, uint64(v.changes))
		dst = append(dst, v.changesRaw...)
	}
	return dst
}

func appendStr8[T bytestring](dst []byte, s T) []byte {
	return append(append(dst, byte(len(s))), s...)
}

func appendStr[T bytestring](dst []byte, s T) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// parseEntry reads an entry from the front of c.
func parseEntry[T bytestring](c *cursor[T]) (v view[T]) {
	v.typ = chat.EntryType(c.u8())
	flags := c.u8()
	if flags&^flagsKnown != 0 || v.typ == 0 {
		c.bad = true
		return v
	}
	v.timeMS = int64(c.uvarint())
	v.msgNo = chat.MsgNo(c.uvarint())
	if flags&flagTarget != 0 {
		v.target = chat.Seq(c.uvarint())
	}
	v.sender, v.device = c.str8(), c.str8()
	copy(v.clientID[:], c.take(len(v.clientID)))
	copy(v.salt[:], c.take(len(v.salt)))
	v.contentType = c.str8()
	v.text = c.str(chat.TextBytesMax)
	if flags&flagFields == 0 {
		return v
	}
	v.title = c.str(chat.TitleBytesMax)
	v.kind, v.policy = chat.Kind(c.u8()), chat.HistoryPolicy(c.u8())
	v.membersMax = uint32(c.count(math.MaxUint32))
	v.changes = c.count(changesMax)
	rest := *c
	for range v.changes {
		c.str8()
		c.u8()
	}
	if !c.bad {
		v.changesRaw = rest.b[:len(rest.b)-len(c.b)]
	}
	return v
}

// changeList decodes the changes of a parsed entry.
func changeList[T bytestring](v *view[T]) []chat.Change {
	if v.changes == 0 {
		return nil
	}
	c := cursor[T]{b: v.changesRaw}
	list := make([]chat.Change, v.changes)
	for i := range list {
		list[i] = chat.Change{User: chat.UserID(c.str8()), Role: chat.Role(c.u8())}
	}
	return list
}

// fill sets all of e but its conversation and seq. With a string view e shares it.
func fill[T bytestring](e *chat.Entry, v *view[T]) {
	e.Type, e.TimeMS, e.MsgNo, e.Target = v.typ, v.timeMS, v.msgNo, v.target
	e.Sender, e.Device = chat.UserID(v.sender), chat.DeviceID(v.device)
	e.ClientID, e.Salt = v.clientID, v.salt
	e.Body = chat.Body{
		ContentType: string(v.contentType), Text: string(v.text), Title: string(v.title),
		Kind: v.kind, Policy: v.policy, MembersMax: v.membersMax, Changes: changeList(v),
	}
}

// viewOf is the view of an entry.
func viewOf(e *chat.Entry) view[string] {
	return view[string]{
		typ: e.Type, timeMS: e.TimeMS, msgNo: e.MsgNo, target: e.Target,
		sender: string(e.Sender), device: string(e.Device), clientID: e.ClientID, salt: e.Salt,
		contentType: e.Body.ContentType, text: e.Body.Text, title: e.Body.Title,
		kind: e.Body.Kind, policy: e.Body.Policy, membersMax: e.Body.MembersMax,
		changes: len(e.Body.Changes), changesRaw: string(changeBytes(e.Body.Changes)),
	}
}

func changeBytes(changes []chat.Change) []byte {
	var dst []byte
	for _, c := range changes {
		dst = append(appendStr8(dst, c.User), byte(c.Role))
	}
	return dst
}

// AppendEntry appends one entry in a form that stands alone, for sending it to
// another node: conv str8 ‖ seq uvarint ‖ the stored form.
func AppendEntry(dst []byte, e *chat.Entry) []byte {
	dst = appendStr8(dst, e.Conv)
	dst = binary.AppendUvarint(dst, uint64(e.Seq))
	v := viewOf(e)
	return appendView(dst, &v)
}

// DecodeEntry decodes the entry at the front of s and returns what follows it.
// The entry's strings are parts of s.
func DecodeEntry(s string) (e chat.Entry, rest string, err error) {
	c := cursor[string]{b: s}
	e.Conv = chat.ConvID(c.str8())
	e.Seq = chat.Seq(c.uvarint())
	v := parseEntry(&c)
	if c.bad {
		return chat.Entry{}, "", corrupt("decode entry", "an entry is malformed")
	}
	fill(&e, &v)
	return e, c.b, nil
}

func corrupt(op, msg string) error { return chat.E(op, chat.Corrupt, msg, nil) }
