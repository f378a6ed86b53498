package store

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/shard"
)

// A snapshot stream is a header, frames of rows, an end frame and zeros up to
// the size that the header declares:
//
//	header  magic 8 | format u32 | group u32 | index u64 | term u64 | size u64 |
//	        configuration index u64 | length u32 | configuration | crc32c u32
//	frame   kind u8 | length u32 | crc32c u32 | payload
//	rows    { key length uvarint | value length uvarint | key | value } …
//	end     rows u64 | bytes u64
//
// Integers are big-endian; keys come in ascending order without the group's
// prefix. The checksum of a frame continues that of the one before it, so a
// frame that is missing, doubled or moved is noticed as well as a changed byte.
//
// The size is declared before the rows are counted: it is an upper bound, which
// the zeros fill.
const (
	streamMagic   = "CNSNAP1\n"
	streamFormat  = 1
	frameRows     = 'R'
	frameEnd      = 'E'
	frameHead     = 1 + 4 + 4
	endBytes      = 16
	headerFixed   = 8 + 4 + 4 + 8 + 8 + 8 + 8 + 4
	headerCfgMax  = 1 << 20
	frameTarget   = 256 << 10 // a frame of rows is closed when it reaches this
	frameBytesMax = 48 << 20  // one row of the largest size and what came before it
)

// Header is what a snapshot stream begins with.
type Header struct {
	Group              shard.GroupID
	Index, Term        uint64
	Size               uint64 // of the whole stream in bytes
	ConfigurationIndex uint64
	Configuration      []byte
}

func (h Header) bytes() int { return headerFixed + len(h.Configuration) + 4 }

func (h Header) appendTo(b []byte) []byte {
	start := len(b)
	b = append(b, streamMagic...)
	b = binary.BigEndian.AppendUint32(b, streamFormat)
	b = binary.BigEndian.AppendUint32(b, uint32(h.Group))
	for _, v := range [...]uint64{h.Index, h.Term, h.Size, h.ConfigurationIndex} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(h.Configuration)))
	b = append(b, h.Configuration...)
	return binary.BigEndian.AppendUint32(b, crcOf(b[start:]))
}

// headerNeed says how many bytes the header has that begins with b, as far as b
// tells: more than len(b) when it is not complete.
func headerNeed(b []byte) (int, error) {
	if len(b) < headerFixed {
		return headerFixed, nil
	}
	if string(b[:8]) != streamMagic {
		return 0, corrupt("snapshot header", nil)
	}
	n := binary.BigEndian.Uint32(b[headerFixed-4:])
	if n > headerCfgMax {
		return 0, corrupt("snapshot header", nil)
	}
	return headerFixed + int(n) + 4, nil
}

// readHeader reads a complete header.
func readHeader(b []byte) (Header, error) {
	body := len(b) - 4
	if binary.BigEndian.Uint32(b[body:]) != crcOf(b[:body]) {
		return Header{}, corrupt("snapshot header", nil)
	}
	if v := binary.BigEndian.Uint32(b[8:]); v != streamFormat {
		return Header{}, chat.E("install", chat.UnsupportedVer,
			fmt.Sprintf("the snapshot has format %d and this binary reads %d", v, streamFormat), nil)
	}
	u := func(i int) uint64 { return binary.BigEndian.Uint64(b[16+8*i:]) }
	return Header{
		Group:              shard.GroupID(binary.BigEndian.Uint32(b[12:])),
		Index:              u(0),
		Term:               u(1),
		Size:               u(2),
		ConfigurationIndex: u(3),
		Configuration:      append([]byte(nil), b[headerFixed:body]...),
	}, nil
}

// sealFrame writes the head of a frame whose payload follows frameHead bytes
// from the start of b, and gives the checksum that the next frame continues.
func sealFrame(b []byte, kind byte, chain uint32) uint32 {
	b[0] = kind
	binary.BigEndian.PutUint32(b[1:], uint32(len(b)-frameHead))
	sum := frameSum(b, chain)
	binary.BigEndian.PutUint32(b[5:], sum)
	return sum
}

func frameSum(b []byte, chain uint32) uint32 {
	return crc32.Update(crc32.Update(chain, crcTable, b[:5]), crcTable, b[frameHead:])
}

// streamBound is the largest stream that rows of so many bytes can make.
func streamBound(h Header, rowsBytes uint64) uint64 {
	frames := rowsBytes/frameTarget + 1
	return uint64(h.bytes()) + rowsBytes + frames*frameHead + frameHead + endBytes
}

// cutRow takes the first row of a frame's payload.
func cutRow(b []byte) (key, val, rest []byte, ok bool) {
	k, n := binary.Uvarint(b)
	if n <= 0 {
		return nil, nil, nil, false
	}
	b = b[n:]
	v, n := binary.Uvarint(b)
	if n <= 0 {
		return nil, nil, nil, false
	}
	b = b[n:]
	if k == 0 || k > uint64(len(b)) || v > uint64(len(b))-k {
		return nil, nil, nil, false
	}
	return b[:k], b[k : k+v], b[k+v:], true
}

func appendRow(b, key, val []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(key)))
	b = binary.AppendUvarint(b, uint64(len(val)))
	b = append(b, key...)
	return append(b, val...)
}
