package seglog

import (
	"bytes"
	"testing"

	"github.com/chatnode/chatnode/shard"
	"github.com/chatnode/chatnode/store"
)

// FuzzRecord feeds the parsers of what is read from disk.
func FuzzRecord(f *testing.F) {
	e := store.LogEntry{Index: 7, Term: 2, Type: 1, Data: []byte("data"), Extensions: []byte("ext")}
	rec := appendRecord(make([]byte, 0, 200), 5, kindEntry, 3, &e)
	f.Add(rec)
	f.Add(rec[:20])
	g := &group{first: 3, last: 9, stable: map[string][]byte{"term": []byte("9")}}
	f.Add(appendCheckpoint(nil, map[shard.GroupID]*group{4: g}))
	f.Add(appendStable(nil, []byte("key"), []byte("value")))
	head := make([]byte, blockHeadBytes)
	blockHeader{number: 4, durable: 3, length: 100}.put(head, 5)
	f.Add(head)
	f.Add(segHeader{number: 9}.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, _, n, ok := readRecord(b, 5, true); ok {
			again := appendRecord(make([]byte, 0, n), 5, r.kind, r.group, &r.entry)
			if !bytes.Equal(again[12:], b[12:n]) {
				t.Errorf("record %x reads as %x", b[:n], again)
			}
		}
		readRecord(b, 5, false)
		readBlockHeader(b, 5)
		readSegHeader(b)
		readStable(b)
		goodRecords(b, 5, 1)
		if cp, ok := readCheckpoint(b); ok {
			groups := make(map[shard.GroupID]*group)
			for id, m := range cp {
				groups[id] = &group{first: m.first, last: m.last, stable: m.stable}
			}
			if _, ok := readCheckpoint(appendCheckpoint(nil, groups)); !ok {
				t.Errorf("checkpoint %x does not read back", b)
			}
		}
	})
}
