package fsm

import (
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/chatnode/chatnode/chat"
)

// An encoded command is the protobuf message Command of fsm.proto: a oneof of
// which exactly one field is set, so it is that field's tag, a length and the
// message of the command. It is written and read by hand because generated
// code would allocate on the path of every message; tests hold the two equal.

// Encode appends the encoded command to dst. The body is written where it will
// be when its length takes three bytes, and moved when it takes fewer.
func Encode(dst []byte, c Command) []byte {
	const room = 3
	dst = protowire.AppendTag(dst, protowire.Number(c.Tag()), protowire.BytesType)
	start := len(dst)
	dst = c.appendBody(append(dst, make([]byte, room)...))
	body := dst[start+room:]
	n := protowire.SizeVarint(uint64(len(body)))
	if n > room {
		return protowire.AppendBytes(dst[:start], append([]byte(nil), body...))
	}
	protowire.AppendVarint(dst[:start], uint64(len(body)))
	copy(dst[start+n:], body)
	return dst[:start+n+len(body)]
}

// Wrap appends the envelope of a command whose message is already encoded. The
// meta machine encodes its commands with it.
func Wrap(dst []byte, tag Tag, body []byte) []byte {
	dst = protowire.AppendTag(dst, protowire.Number(tag), protowire.BytesType)
	return protowire.AppendBytes(dst, body)
}

func (c Append) appendBody(b []byte) []byte {
	b = appendString(b, 1, string(c.Conv))
	b = appendString(b, 2, string(c.Sender))
	b = appendString(b, 3, string(c.Device))
	b = appendID(b, 4, c.ClientID)
	b = appendID(b, 5, c.After)
	b = appendString(b, 6, c.ContentType)
	b = appendString(b, 7, c.Text)
	return appendString(b, 8, string(c.Direct))
}

func (c Create) appendBody(b []byte) []byte {
	b = appendString(b, 1, string(c.Conv))
	b = appendUint(b, 2, uint64(c.Kind))
	b = appendString(b, 3, c.Title)
	b = appendUint(b, 4, uint64(c.Policy))
	b = appendString(b, 5, string(c.Creator))
	b = appendString(b, 6, string(c.Device))
	b = appendID(b, 7, c.ClientID)
	b = appendChanges(b, 8, c.Members)
	return appendUint(b, 9, uint64(c.MembersMax))
}

func (c ChangeMembers) appendBody(b []byte) []byte {
	b = appendString(b, 1, string(c.Conv))
	b = appendString(b, 2, string(c.Actor))
	b = appendString(b, 3, string(c.Device))
	b = appendID(b, 4, c.ClientID)
	return appendChanges(b, 5, c.Changes)
}

func (c RaiseLevel) appendBody(b []byte) []byte {
	return appendUint(b, 1, uint64(c.To))
}

func appendString(b []byte, num protowire.Number, s string) []byte {
	if s == "" {
		return b
	}
	b = protowire.AppendTag(b, num, protowire.BytesType)
	return protowire.AppendString(b, s)
}

func appendID(b []byte, num protowire.Number, id chat.ClientID) []byte {
	if id.IsZero() {
		return b
	}
	b = protowire.AppendTag(b, num, protowire.BytesType)
	return protowire.AppendBytes(b, id[:])
}

func appendUint(b []byte, num protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	b = protowire.AppendTag(b, num, protowire.VarintType)
	return protowire.AppendVarint(b, v)
}

func appendChanges(b []byte, num protowire.Number, changes []chat.Change) []byte {
	for _, c := range changes {
		size := 0
		if c.User != "" {
			size += 1 + protowire.SizeBytes(len(c.User))
		}
		if c.Role != 0 {
			size += 1 + protowire.SizeVarint(uint64(c.Role))
		}
		b = protowire.AppendTag(b, num, protowire.BytesType)
		b = protowire.AppendVarint(b, uint64(size))
		b = appendString(b, 1, string(c.User))
		b = appendUint(b, 2, uint64(c.Role))
	}
	return b
}
