package fsm

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/chatnode/chatnode/chat"
)

// fields walks the fields of one protobuf message in its only accepted form:
// numbers ascending (a repeated one may follow itself), minimal varints, no
// field with the default value, varint and bytes types only.
type fields struct {
	b   []byte
	s   string // a copy of the whole message, to cut strings from; "" if none is wanted
	pos int

	num   protowire.Number
	typ   protowire.Type
	u     uint64
	val   []byte
	start int // of val
	again bool
	bad   bool
}

// next moves to the next field. It returns false at the end and at a fault.
func (f *fields) next() bool {
	if f.pos == len(f.b) || f.bad {
		return false
	}
	v, n := consumeVarint(f.b[f.pos:])
	num := protowire.Number(v >> 3)
	if n <= 0 || v>>3 > uint64(protowire.MaxValidNumber) || num < 1 || num < f.num {
		f.bad = true
		return false
	}
	f.pos += n
	f.again, f.num, f.typ, f.val = num == f.num, num, protowire.Type(v&7), nil
	u, n := consumeVarint(f.b[f.pos:])
	if n <= 0 {
		f.bad = true
		return false
	}
	f.pos += n
	f.u = u
	switch {
	case f.typ == protowire.VarintType:
		f.bad = u == 0
	case f.typ == protowire.BytesType && u <= uint64(len(f.b)-f.pos):
		f.start = f.pos
		f.val = f.b[f.pos : f.pos+int(u)]
		f.pos += int(u)
	default:
		f.bad = true
	}
	return !f.bad
}

// bytes reports whether the field is a lone, non-empty bytes or string field.
func (f *fields) bytes() bool {
	return f.typ == protowire.BytesType && !f.again && len(f.val) > 0
}

// uint reports whether the field is a lone number up to most.
func (f *fields) uint(most uint64) bool {
	return f.typ == protowire.VarintType && !f.again && f.u <= most
}

// str is the value as a part of the copy.
func (f *fields) str() string {
	if f.typ != protowire.BytesType {
		return ""
	}
	return f.s[f.start : f.start+len(f.val)]
}

func (f *fields) id() (id chat.ClientID, ok bool) {
	if !f.bytes() || len(f.val) != len(id) {
		return id, false
	}
	copy(id[:], f.val)
	return id, !id.IsZero()
}

// changesPerCommandMax bounds a decoded list well above what apply accepts, so
// that apply answers with a typed code and decoding stays bounded.
const changesPerCommandMax = 2 * chat.GroupMembersMax

func (f *fields) change(list []chat.Change) ([]chat.Change, bool) {
	if f.typ != protowire.BytesType || len(list) == changesPerCommandMax {
		return nil, false
	}
	var c chat.Change
	in := fields{b: f.val, s: f.str()}
	for in.next() {
		var ok bool
		switch in.num {
		case 1:
			c.User, ok = chat.UserID(in.str()), in.bytes()
		case 2:
			c.Role, ok = chat.Role(in.u), in.uint(math.MaxUint8)
		default:
			ok = false
		}
		if !ok {
			return nil, false
		}
	}
	return append(list, c), !in.bad
}

func (f *fields) fault() error {
	return malformed(fmt.Sprintf("field %d", f.num))
}

func (f *fields) done() error {
	if f.bad {
		return f.fault()
	}
	return nil
}

// consumeVarint reads a varint in its shortest form. n ≤ 0 means it is none.
func consumeVarint(b []byte) (v uint64, n int) {
	if len(b) > 0 && b[0] < 0x80 {
		return uint64(b[0]), 1
	}
	v, n = binary.Uvarint(b)
	if n > 0 && n != (bits.Len64(v|1)+6)/7 {
		return 0, 0
	}
	return v, n
}
