package router

import (
	"encoding/binary"
	"errors"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm/conv"
	"github.com/chatnode/chatnode/wire"
)

// Kind says what a [Request] reads.
type Kind uint8

// The kinds of reads. Numbers go between nodes of different versions and are
// never used again.
const (
	ReadPage    Kind = 1
	ReadHead    Kind = 2
	ReadInfo    Kind = 3
	ReadProof   Kind = 4
	ReadAccess  Kind = 5
	ReadMembers Kind = 6
	ReadMap     Kind = 7 // of the meta group
)

// Request is one read of a conversation. Which fields count follows from Kind.
type Request struct {
	Kind   Kind
	Level  wire.Level
	MinSeq chat.Seq // a replica whose head is below it answers behind
	Conv   chat.ConvID
	User   chat.UserID
	All    bool // page, proof: not cut to what User may see; for the service itself

	Mode  conv.Mode // page
	Seq   chat.Seq  // page, proof
	Limit int       // page, members
	Bytes int       // page

	Size, OldSize chat.Seq    // proof
	AfterUser     chat.UserID // members
}

const requestVersion = 1

var errRequest = errors.New("malformed read request")

// Append appends the encoded request: a version, then the fields in order,
// numbers as varints, ids behind a byte of length.
func (q *Request) Append(dst []byte) []byte {
	flags := byte(0)
	if q.All {
		flags = 1
	}
	dst = append(dst, requestVersion, byte(q.Kind), byte(q.Level), byte(q.Mode), flags)
	for _, id := range []string{string(q.Conv), string(q.User), string(q.AfterUser)} {
		id = id[:min(len(id), chat.IDBytesMax)]
		dst = append(dst, byte(len(id)))
		dst = append(dst, id...)
	}
	for _, n := range []uint64{
		uint64(q.MinSeq), uint64(q.Seq), uint64(max(q.Limit, 0)), uint64(max(q.Bytes, 0)), uint64(q.Size), uint64(q.OldSize),
	} {
		dst = binary.AppendUvarint(dst, n)
	}
	return dst
}

// DecodeRequest reads what Append wrote. Nothing of b is kept.
func DecodeRequest(b []byte) (Request, error) {
	var q Request
	if len(b) < 5 || b[0] != requestVersion || b[4] > 1 {
		return q, errRequest
	}
	q.Kind, q.Level, q.Mode, q.All = Kind(b[1]), wire.Level(b[2]), conv.Mode(b[3]), b[4] == 1
	if q.Kind < ReadPage || q.Kind > ReadMap || q.Level > wire.Stale || q.Mode > conv.Around {
		return q, errRequest
	}
	b = b[5:]
	var ids [3]string
	for i := range ids {
		if len(b) < 1 || b[0] > chat.IDBytesMax || len(b) < 1+int(b[0]) {
			return q, errRequest
		}
		ids[i], b = string(b[1:1+int(b[0])]), b[1+int(b[0]):]
	}
	q.Conv, q.User, q.AfterUser = chat.ConvID(ids[0]), chat.UserID(ids[1]), chat.UserID(ids[2])
	var nums [6]uint64
	for i := range nums {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			return q, errRequest
		}
		nums[i], b = v, b[n:]
	}
	if len(b) != 0 || nums[2] > chat.ChannelMembersMax || nums[3] > chat.PageBytesMax {
		return q, errRequest
	}
	q.MinSeq, q.Seq, q.Limit, q.Bytes = chat.Seq(nums[0]), chat.Seq(nums[1]), int(nums[2]), int(nums[3])
	q.Size, q.OldSize = chat.Seq(nums[4]), chat.Seq(nums[5])
	return q, nil
}
