package fsm

import (
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/chatnode/chatnode/chat"
)

const opDecode = "decode command"

func malformed(what string) error {
	return chat.E(opDecode, chat.Invalid, "malformed command: "+what, nil)
}

// UnknownTag is the error for a command that this binary does not know.
func UnknownTag(tag Tag) error {
	return chat.E(opDecode, chat.UnknownType, fmt.Sprintf("command %d is not known to this version", tag), nil)
}

// Split takes an encoded command apart. body is a part of b.
func Split(b []byte) (tag Tag, body []byte, err error) {
	if len(b) > CommandBytesMax {
		return 0, nil, chat.E(opDecode, chat.TooLarge, "the command is too large", nil)
	}
	v, n := consumeVarint(b)
	if n <= 0 || v&7 != uint64(protowire.BytesType) || v>>3 == 0 || v>>3 > uint64(protowire.MaxValidNumber) {
		return 0, nil, malformed("its tag")
	}
	size, m := consumeVarint(b[n:])
	if m <= 0 || size != uint64(len(b)-n-m) {
		return 0, nil, malformed("its length")
	}
	return Tag(v >> 3), b[n+m:], nil
}

// Decode decodes a conversation command or a RaiseLevel. The command's strings
// share one copy of b.
func Decode(b []byte) (Command, error) {
	tag, body, err := Split(b)
	if err != nil {
		return nil, err
	}
	switch tag {
	case TagAppend:
		v, err := ReadAppend(body)
		if err != nil {
			return nil, err
		}
		return v.Command(), nil
	case TagCreate:
		return decodeCreate(body)
	case TagChangeMembers:
		return decodeChangeMembers(body)
	case TagRaiseLevel:
		return decodeRaiseLevel(body)
	default:
		return nil, UnknownTag(tag)
	}
}

// CheckCommand reports whether b is a well-formed conversation command (or
// RaiseLevel) that this binary knows. What it refuses must not reach a log.
// Commands of the meta range are checked by the meta machine's package.
func CheckCommand(b []byte) error {
	tag, body, err := Split(b)
	if err != nil {
		return err
	}
	if tag == TagAppend { // without the copies that Decode makes
		_, err := ReadAppend(body)
		return err
	}
	c, err := Decode(b)
	if err != nil {
		return err
	}
	if r, ok := c.(RaiseLevel); ok && r.To > LevelMax {
		return chat.E(opDecode, chat.UnsupportedVer, "this version does not know that level", nil)
	}
	return nil
}

// KeyOf is the conversation that an encoded command is about, which decides its
// group. Commands of the meta range and RaiseLevel have no key: "".
func KeyOf(b []byte) (string, error) {
	tag, body, err := Split(b)
	if err != nil {
		return "", err
	}
	if tag > TagConvMax {
		return "", nil
	}
	f := fields{b: body}
	if !f.next() || f.num != 1 || f.typ != protowire.BytesType {
		return "", malformed("it names no conversation")
	}
	return string(f.val), nil
}

func decodeCreate(body []byte) (Command, error) {
	var c Create
	f := fields{b: body, s: string(body)}
	for f.next() {
		var ok bool
		switch f.num {
		case 1:
			c.Conv, ok = chat.ConvID(f.str()), f.bytes()
		case 2:
			c.Kind, ok = chat.Kind(f.u), f.uint(math.MaxUint8)
		case 3:
			c.Title, ok = f.str(), f.bytes()
		case 4:
			c.Policy, ok = chat.HistoryPolicy(f.u), f.uint(math.MaxUint8)
		case 5:
			c.Creator, ok = chat.UserID(f.str()), f.bytes()
		case 6:
			c.Device, ok = chat.DeviceID(f.str()), f.bytes()
		case 7:
			c.ClientID, ok = f.id()
		case 8:
			c.Members, ok = f.change(c.Members)
		case 9:
			c.MembersMax, ok = uint32(f.u), f.uint(math.MaxUint32)
		default:
			ok = false
		}
		if !ok {
			return nil, f.fault()
		}
	}
	return c, f.done()
}

func decodeChangeMembers(body []byte) (Command, error) {
	var c ChangeMembers
	f := fields{b: body, s: string(body)}
	for f.next() {
		var ok bool
		switch f.num {
		case 1:
			c.Conv, ok = chat.ConvID(f.str()), f.bytes()
		case 2:
			c.Actor, ok = chat.UserID(f.str()), f.bytes()
		case 3:
			c.Device, ok = chat.DeviceID(f.str()), f.bytes()
		case 4:
			c.ClientID, ok = f.id()
		case 5:
			c.Changes, ok = f.change(c.Changes)
		default:
			ok = false
		}
		if !ok {
			return nil, f.fault()
		}
	}
	return c, f.done()
}

func decodeRaiseLevel(body []byte) (Command, error) {
	var c RaiseLevel
	f := fields{b: body}
	for f.next() {
		if f.num != 1 || !f.uint(math.MaxUint32) {
			return nil, f.fault()
		}
		c.To = Level(f.u)
	}
	return c, f.done()
}
