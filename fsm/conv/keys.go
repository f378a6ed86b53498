package conv

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/cespare/xxhash/v2"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm"
)

// Kinds of rows behind a conversation's prefix.
const (
	kindConv    byte = 0x01 // the conversation itself; one row
	kindEntry   byte = 0x02 // ‖ seq u64
	kindMember  byte = 0x03 // ‖ user id
	kindID      byte = 0x05 // ‖ client id 16 ‖ sender
	kindRefused byte = 0x06 // ‖ user id
)

// prefixBytes is group u32 ‖ area u8 ‖ hash64 ‖ idhash 8. The first 12 bits of
// hash64 are the slot, so a slot is one range of keys.
const prefixBytes = fsm.GroupBytes + 1 + 8 + 8

type prefix [prefixBytes]byte

func prefixOf[T ~string | ~[]byte](group uint32, conv T) prefix {
	var p prefix
	var id [chat.IDBytesMax]byte
	n := copy(id[:], conv)
	binary.BigEndian.PutUint32(p[:], group)
	p[4] = fsm.AreaConv
	binary.BigEndian.PutUint64(p[5:], xxhash.Sum64(id[:n]))
	sum := sha256.Sum256(id[:n])
	copy(p[13:], sum[:8])
	return p
}

func (p *prefix) appendKind(dst []byte, kind byte) []byte {
	return append(append(dst, p[:]...), kind)
}

func (p *prefix) appendEntry(dst []byte, seq chat.Seq) []byte {
	return binary.BigEndian.AppendUint64(p.appendKind(dst, kindEntry), uint64(seq))
}

// EntryNumber gives the seq of an entry from the key of its row, which ends in it, as
// a store of rows asks for it.
func EntryNumber(key []byte) (uint64, bool) {
	seq, ok := seqOf(key)
	return uint64(seq), ok && key[fsm.GroupBytes] == fsm.AreaConv
}

// seqOf reads the seq from the key of an entry.
func seqOf(key []byte) (chat.Seq, bool) {
	if len(key) != prefixBytes+1+8 || key[prefixBytes] != kindEntry {
		return 0, false
	}
	return chat.Seq(binary.BigEndian.Uint64(key[prefixBytes+1:])), true
}
