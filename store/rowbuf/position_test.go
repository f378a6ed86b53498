package rowbuf

import (
	"encoding/binary"
	"fmt"
	"testing"
)

// TestJumps adds a chain that has more jumps than it keeps beside it, and compares
// the jump of every position with what the rows before it say it is.
func TestJumps(t *testing.T) {
	t.Parallel()
	const rows = 20_000
	var b Buffer
	head := fmt.Sprintf("%-*s", ChainBytes, "grp1 a long chain")
	key := func(n int) []byte { return binary.BigEndian.AppendUint64([]byte(head), uint64(2*n)) }
	b.Lock()
	places := make([]Mark, rows)
	for n := range rows {
		b.Put(b.Seek(key(n)), key(n), []byte{byte(n)}, false)
		places[n] = b.chains[0].last
	}
	b.Unlock()
	for n, at := range places {
		want := at
		if n > 0 {
			before := places[n-1]
			near := b.mem.jump(before)
			far := b.mem.jump(near)
			want = before
			if b.mem.depth(before)-b.mem.depth(near) == b.mem.depth(near)-b.mem.depth(far) {
				want = far
			}
			if b.mem.link(at) != before {
				t.Fatalf("position %d is linked to %d, not to %d", n, b.mem.link(at), before)
			}
		}
		if b.mem.jump(at) != want || b.mem.depth(at) != uint32(n) {
			t.Fatalf("position %d of depth %d jumps to %d, want %d", n, b.mem.depth(at), b.mem.jump(at), want)
		}
	}
	for n := range rows {
		if val, state := b.Get(key(n), End); state != Present || val[0] != byte(n) {
			t.Fatalf("Get of row %d = %v, %v", n, val, state)
		}
		between := key(n)
		between[len(between)-1]++
		if _, state := b.Get(between, End); state != Absent {
			t.Fatalf("a key behind row %d is %v", n, state)
		}
	}
	if b.keys.used != 0 {
		t.Errorf("%d keys of an ordered chain are in the index", b.keys.used)
	}
	b.Lock() // one key out of order, and all of them are
	last := key(rows / 2)
	last[len(last)-1]++
	b.Put(b.Seek(last), last, nil, true)
	b.Unlock()
	if _, state := b.Get(last, End); state != Deleted || b.keys.used != rows+1 || b.Keys() != rows+1 {
		t.Errorf("the key out of order is %v, %d of %d keys are in the index", state, b.keys.used, b.Keys())
	}
	for n := range rows {
		if val, state := b.Get(key(n), End); state != Present || val[0] != byte(n) {
			t.Fatalf("Get of row %d out of order = %v, %v", n, val, state)
		}
	}
}
