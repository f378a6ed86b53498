package store

import (
	"bytes"

	"github.com/cockroachdb/pebble/v2"

	"github.com/chatnode/chatnode/store/rowbuf"
)

// rowsOver is rows in the order of a scan that lie over the tables.
type rowsOver interface {
	Valid() bool
	Key() []byte
	Val() (val []byte, deleted bool)
	Next()
}

// merge scans the tables with newer rows put over them.
type merge struct {
	over    []rowsOver // newest first
	cursors [2]rowbuf.Cursor
}

// addMemory puts the rows of mem in a range below those that were added before.
func (m *merge) addMemory(mem *memory, lower, upper []byte, reverse bool) {
	for i := range mem.snaps {
		s := &mem.snaps[i]
		if s.Empty() {
			continue
		}
		c := &m.cursors[i]
		if c.Reset(s, lower, upper, reverse); c.Valid() {
			m.over = append(m.over, c)
		}
	}
}

// forget drops what points to rows and keeps the memory for the next scan.
func (m *merge) forget() {
	clear(m.over)
	m.over = m.over[:0]
	for i := range m.cursors {
		m.cursors[i].Release()
	}
}

// scan visits the rows of it, whose bounds are set, and of what lies over it. Where
// the tables cannot be read it stops: what lies over them must not pass for what comes
// next.
func (m *merge) scan(it *pebble.Iterator, reverse bool, fn func(k, v []byte) (bool, error)) error {
	ok := start(it, reverse)
	for {
		if !ok {
			if err := it.Error(); err != nil {
				return readError("scan state", err)
			}
		}
		top := m.first(reverse)
		if top == nil && !ok {
			return nil
		}
		order := -1 // below 0 the tables are next, above 0 what lies over them, 0 both
		switch {
		case !ok:
			order = 1
		case top != nil:
			if order = bytes.Compare(it.Key(), top.Key()); reverse {
				order = -order
			}
		}
		var k, v []byte
		deleted := false
		if order < 0 {
			var err error
			if k, v, err = rowOf(it); err != nil {
				return err
			}
		} else {
			k = top.Key()
			v, deleted = top.Val()
		}
		if !deleted {
			if more, err := fn(k, v); err != nil || !more {
				return err
			}
		}
		if order >= 0 {
			m.pass(top, k)
		}
		if order <= 0 {
			ok = step(it, reverse)
		}
	}
}

func rowOf(it *pebble.Iterator) (k, v []byte, err error) {
	if v, err = it.ValueAndErr(); err != nil {
		return nil, nil, readError("scan state", err)
	}
	return it.Key(), v, nil
}

// first gives who has the next key; of several with the same the newest.
func (m *merge) first(reverse bool) rowsOver {
	var top rowsOver
	for _, r := range m.over {
		if !r.Valid() {
			continue
		}
		if top == nil {
			top = r
			continue
		}
		order := bytes.Compare(r.Key(), top.Key())
		if reverse {
			order = -order
		}
		if order < 0 {
			top = r
		}
	}
	return top
}

// pass leaves the key k, that of top, behind in all that have it.
func (m *merge) pass(top rowsOver, k []byte) {
	if len(m.over) > 1 {
		for _, r := range m.over {
			if r != top && r.Valid() && bytes.Equal(r.Key(), k) {
				r.Next()
			}
		}
	}
	top.Next()
}

func start(it *pebble.Iterator, reverse bool) bool {
	if reverse {
		return it.Last()
	}
	return it.First()
}

func step(it *pebble.Iterator, reverse bool) bool {
	if reverse {
		return it.Prev()
	}
	return it.Next()
}

// clampLower and clampUpper keep a scan within the group's own range, whatever
// bounds the machine asked for.
func clampLower(key, least []byte) []byte {
	if bytes.Compare(key, least) < 0 {
		return least
	}
	return key
}

func clampUpper(key, most []byte) []byte {
	if key == nil || bytes.Compare(key, most) > 0 {
		return most
	}
	return key
}
