package chat

import (
	"crypto/sha256"
	"encoding/binary"
)

// The encodings below are frozen: roots that clients hold depend on each byte.
// docs/format.md gives them with test vectors. Integers are big-endian.

const bodyFormat = 1

// AppendBody appends the fixed encoding of all that a reader sees of an entry.
// Strings are a u32 length and their bytes:
//
//	0x01 ‖ content_type ‖ text ‖ title ‖ kind u8 ‖ policy u8 ‖ members_max u32 ‖
//	count u32 ‖ count × { user ‖ role u8 }
func AppendBody(dst []byte, b *Body) []byte {
	dst = append(dst, bodyFormat)
	dst = appendString32(dst, b.ContentType)
	dst = appendString32(dst, b.Text)
	dst = appendString32(dst, b.Title)
	dst = append(dst, byte(b.Kind), byte(b.Policy))
	dst = binary.BigEndian.AppendUint32(dst, b.MembersMax)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(b.Changes)))
	for _, c := range b.Changes {
		dst = appendString32(dst, string(c.User))
		dst = append(dst, byte(c.Role))
	}
	return dst
}

// AppendMessageBody is AppendBody for a body that has a text only, from bytes.
func AppendMessageBody(dst, contentType, text []byte) []byte {
	dst = append(dst, bodyFormat)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(contentType)))
	dst = append(dst, contentType...)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(text)))
	dst = append(dst, text...)
	const rest = 4 + 1 + 1 + 4 + 4 // no title, kind, policy, members_max or changes
	return append(dst, make([]byte, rest)...)
}

func appendString32(dst []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint32(dst, uint32(len(s))), s...)
}

// BodyHash is SHA-256(salt ‖ body), the part of a leaf that stays when a body is
// erased. scratch is used for the encoding and may be nil.
func BodyHash(salt Salt, b *Body, scratch []byte) Hash {
	return sha256.Sum256(AppendBody(append(scratch[:0], salt[:]...), b))
}

// Leaf holds the fields of an entry that its leaf covers.
type Leaf struct {
	Conv           string // the ids have up to [IDBytesMax] bytes
	Sender, Device []byte
	Seq, Target    Seq
	TimeMS         int64
	ClientID       ClientID
	Type           EntryType
	Body           Hash // see [BodyHash]
}

// Append appends the bytes that the leaf hashes. Ids are a u8 length and their
// bytes:
//
//	0x00 ‖ conv ‖ seq u64 ‖ time_ms u64 ‖ sender ‖ device ‖ client_id 16 ‖
//	type u8 ‖ target u64 ‖ body 32
func (l *Leaf) Append(dst []byte) []byte {
	dst = append(dst, 0, byte(len(l.Conv)))
	dst = append(dst, l.Conv...)
	dst = binary.BigEndian.AppendUint64(dst, uint64(l.Seq))
	dst = binary.BigEndian.AppendUint64(dst, uint64(l.TimeMS))
	dst = append(dst, byte(len(l.Sender)))
	dst = append(dst, l.Sender...)
	dst = append(dst, byte(len(l.Device)))
	dst = append(dst, l.Device...)
	dst = append(dst, l.ClientID[:]...)
	dst = append(dst, byte(l.Type))
	dst = binary.BigEndian.AppendUint64(dst, uint64(l.Target))
	return append(dst, l.Body[:]...)
}

// LeafHash is the hash of an entry in its conversation's Merkle tree, where it
// has the index Seq-1. A reader who computes it for an entry it was given and
// verifies a proof knows that the entry is the one everybody sees.
func LeafHash(e *Entry) Hash {
	var room [512]byte
	l := Leaf{
		Conv: string(e.Conv), Sender: []byte(e.Sender), Device: []byte(e.Device),
		Seq: e.Seq, Target: e.Target, TimeMS: e.TimeMS, ClientID: e.ClientID, Type: e.Type,
		Body: BodyHash(e.Salt, &e.Body, room[:]),
	}
	return sha256.Sum256(l.Append(room[:0]))
}
