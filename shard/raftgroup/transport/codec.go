package transport

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"time"

	"github.com/hashicorp/raft"

	"github.com/chatnode/chatnode/shard"
)

// A frame, integers big-endian:
//
//	length u32 (of what follows) ‖ crc32c u32 (of what follows) ‖ kind u8 ‖ group u32 ‖ request u64 ‖ payload
const (
	frameHeader = 4 + 4 + frameFixed
	frameFixed  = 1 + 4 + 8

	// FrameBytesMax bounds a frame. One entry always fits: store.EntryBytesMax
	// is its bound.
	FrameBytesMax = 20 << 20
	// AppendBytesMax is where an AppendEntries with several entries is cut.
	AppendBytesMax = 4 << 20
	// AppendEntriesMax bounds the entries of one AppendEntries.
	AppendEntriesMax = 1024
	errorBytesMax    = 1 << 10
)

type kind byte

// Requests, and from 16 on their answers.
const (
	kindAppend    kind = 1 + iota
	kindHeartbeat      // not on the wire: they travel in kindBeats
	kindVote
	kindPreVote
	kindTimeoutNow
	kindVerify
	kindBeats // heartbeats of several groups
	kindIdle  // an AppendEntries that brings nothing new
)
const (
	kindAppendResp kind = 16 + iota
	kindVoteResp
	kindPreVoteResp
	kindTimeoutNowResp
	kindVerifyResp
	kindError
	kindBeatsResp
)

var (
	errFrame  = errors.New("malformed frame")
	castTable = crc32.MakeTable(crc32.Castagnoli)
)

// frame is one decoded frame. The payload is its own only when the kind carries
// entries; otherwise it is valid until the next frame.
type frame struct {
	kind    kind
	group   shard.GroupID
	req     uint64
	payload []byte
}

// openFrame appends a header whose length and checksum sealFrame fills in.
func openFrame(dst []byte, k kind, g shard.GroupID, req uint64) []byte {
	dst = append(dst, 0, 0, 0, 0, 0, 0, 0, 0, byte(k))
	dst = binary.BigEndian.AppendUint32(dst, uint32(g))
	return binary.BigEndian.AppendUint64(dst, req)
}

// sealFrame completes the frame that begins at start.
func sealFrame(b []byte, start int) {
	f := b[start:]
	binary.BigEndian.PutUint32(f, uint32(len(f)-4))
	binary.BigEndian.PutUint32(f[4:], crc32.Checksum(f[8:], castTable))
}

// frameReader reads frames from a stream.
type frameReader struct {
	r   io.Reader
	hdr [frameHeader]byte
	buf []byte
}

func (r *frameReader) next() (frame, error) {
	if _, err := io.ReadFull(r.r, r.hdr[:]); err != nil {
		return frame{}, err
	}
	n := binary.BigEndian.Uint32(r.hdr[:])
	if n < 4+frameFixed || n > FrameBytesMax {
		return frame{}, fmt.Errorf("frame of %d bytes: %w", n, errFrame)
	}
	f := frame{
		kind:  kind(r.hdr[8]),
		group: shard.GroupID(binary.BigEndian.Uint32(r.hdr[9:])),
		req:   binary.BigEndian.Uint64(r.hdr[13:]),
	}
	body := int(n) - 4 - frameFixed
	if f.kind == kindAppend {
		f.payload = make([]byte, body) // the entries stay in the log's memory
	} else {
		if cap(r.buf) < body {
			r.buf = make([]byte, body)
		}
		f.payload = r.buf[:body]
	}
	if _, err := io.ReadFull(r.r, f.payload); err != nil {
		return frame{}, err
	}
	sum := crc32.Checksum(r.hdr[8:], castTable)
	if crc32.Update(sum, castTable, f.payload) != binary.BigEndian.Uint32(r.hdr[4:]) {
		return frame{}, fmt.Errorf("checksum: %w", errFrame)
	}
	return f, nil
}

// cursor reads fields; after the first failure all it gives is zero.
type cursor struct {
	b   []byte
	bad bool
}

func (c *cursor) take(n int) []byte {
	if c.bad || n < 0 || len(c.b) < n {
		c.bad = true
		return nil
	}
	out := c.b[:n:n]
	c.b = c.b[n:]
	return out
}

func (c *cursor) u8() byte {
	if b := c.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (c *cursor) u32() uint32 {
	if b := c.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (c *cursor) u64() uint64 {
	if b := c.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// end reports whether all was read and nothing was missing.
func (c *cursor) end() error {
	if c.bad || len(c.b) != 0 {
		return errFrame
	}
	return nil
}

// header is what Raft wants to know of the sender of every message.
func header(id shard.NodeID) raft.RPCHeader {
	b := []byte(id)
	return raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: b, Addr: b}
}

const entryFixed = 8 + 1 + 8 + 4 + 4

func entryBytes(l *raft.Log) int { return entryFixed + len(l.Data) + len(l.Extensions) }

// encodeAppend appends: term u64 ‖ prev u64 ‖ prev term u64 ‖ commit u64 ‖ first
// index u64 ‖ count u32 ‖ count × { term u64 ‖ type u8 ‖ appended i64 ‖ extensions
// u32 ‖ data u32 ‖ bytes of both }.
func encodeAppend(dst []byte, m *raft.AppendEntriesRequest) []byte {
	be := binary.BigEndian
	dst = be.AppendUint64(dst, m.Term)
	dst = be.AppendUint64(dst, m.PrevLogEntry)
	dst = be.AppendUint64(dst, m.PrevLogTerm)
	dst = be.AppendUint64(dst, m.LeaderCommitIndex)
	var first uint64
	if len(m.Entries) > 0 {
		first = m.Entries[0].Index
	}
	dst = be.AppendUint64(dst, first)
	dst = be.AppendUint32(dst, uint32(len(m.Entries)))
	for _, e := range m.Entries {
		dst = be.AppendUint64(dst, e.Term)
		dst = append(dst, byte(e.Type))
		dst = be.AppendUint64(dst, uint64(e.AppendedAt.UnixNano()))
		dst = be.AppendUint32(dst, uint32(len(e.Extensions)))
		dst = be.AppendUint32(dst, uint32(len(e.Data)))
		dst = append(dst, e.Extensions...)
		dst = append(dst, e.Data...)
	}
	return dst
}

// decodeAppend shares the bytes of b with the entries.
func decodeAppend(b []byte, from raft.RPCHeader) (*raft.AppendEntriesRequest, error) {
	c := cursor{b: b}
	m := &raft.AppendEntriesRequest{RPCHeader: from}
	m.Term, m.PrevLogEntry, m.PrevLogTerm, m.LeaderCommitIndex = c.u64(), c.u64(), c.u64(), c.u64()
	first, n := c.u64(), int(c.u32())
	if n > AppendEntriesMax || n*entryFixed > len(c.b) {
		return nil, fmt.Errorf("%d entries: %w", n, errFrame)
	}
	if n > 0 {
		logs := make([]raft.Log, n)
		m.Entries = make([]*raft.Log, n)
		for i := range logs {
			l := &logs[i]
			l.Index = first + uint64(i)
			l.Term, l.Type = c.u64(), raft.LogType(c.u8())
			l.AppendedAt = time.Unix(0, int64(c.u64()))
			ext, data := int(c.u32()), int(c.u32())
			if e := c.take(ext); ext > 0 {
				l.Extensions = e
			}
			l.Data = c.take(data)
			if l.Type > raft.LogConfiguration {
				return nil, fmt.Errorf("entry of type %d: %w", l.Type, errFrame)
			}
			if l.Type == raft.LogConfiguration && !validConfiguration(l.Data) {
				return nil, fmt.Errorf("configuration entry: %w", errFrame)
			}
			m.Entries[i] = l
		}
	}
	return m, c.end()
}

// validConfiguration guards Raft's decoder, which panics on what it cannot read.
func validConfiguration(b []byte) (ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	return len(raft.DecodeConfiguration(b).Servers) <= shard.NodesMax
}

func encodeAppendResp(dst []byte, m *raft.AppendEntriesResponse) []byte {
	dst = binary.BigEndian.AppendUint64(dst, m.Term)
	dst = binary.BigEndian.AppendUint64(dst, m.LastLog)
	return append(dst, flag(m.Success, 1)|flag(m.NoRetryBackoff, 2))
}

func decodeAppendResp(b []byte, from raft.RPCHeader, m *raft.AppendEntriesResponse) error {
	c := cursor{b: b}
	*m = raft.AppendEntriesResponse{Term: c.u64(), LastLog: c.u64()}
	f := c.u8()
	m.Success, m.NoRetryBackoff = f&1 != 0, f&2 != 0
	m.RPCHeader = from
	return c.end()
}

func flag(on bool, bit byte) byte {
	if on {
		return bit
	}
	return 0
}

// ballot is a vote or a pre-vote and the answer to either.
type ballot struct {
	term, index, logTerm uint64
	flag                 bool // transfer in a request, granted in an answer
}

func (v ballot) encode(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, v.term)
	dst = binary.BigEndian.AppendUint64(dst, v.index)
	dst = binary.BigEndian.AppendUint64(dst, v.logTerm)
	return append(dst, flag(v.flag, 1))
}

func decodeBallot(b []byte) (ballot, error) {
	c := cursor{b: b}
	v := ballot{term: c.u64(), index: c.u64(), logTerm: c.u64()}
	v.flag = c.u8() != 0
	return v, c.end()
}

func decodeTerm(b []byte) (uint64, error) {
	c := cursor{b: b}
	t := c.u64()
	return t, c.end()
}
