package fsmtest

import (
	"bytes"
	"maps"
	"slices"
	"sort"

	"github.com/chatnode/chatnode/fsm"
)

// Store holds rows in memory. It implements [fsm.Writer]; every write is there at
// once. It is for one goroutine.
type Store struct {
	rows  map[string][]byte
	order []string            // sorted, of every key but those in fresh
	fresh map[string]struct{} // new since the last Scan

	Sets, Deletes, Gets, Scans int // calls so far
}

var _ fsm.Writer = (*Store)(nil)

// NewStore makes an empty store.
func NewStore() *Store {
	return &Store{rows: map[string][]byte{}, fresh: map[string]struct{}{}}
}

// Clone is a copy, for reading an older state later.
func (s *Store) Clone() *Store {
	return &Store{rows: maps.Clone(s.rows), order: slices.Clone(s.order), fresh: maps.Clone(s.fresh)}
}

// Len is the number of rows.
func (s *Store) Len() int { return len(s.rows) }

// Get implements [fsm.Reader].
func (s *Store) Get(key []byte) ([]byte, bool, error) {
	s.Gets++
	val, ok := s.rows[string(key)]
	return val, ok, nil
}

// Set implements [fsm.Writer].
func (s *Store) Set(key, val []byte) error {
	s.Sets++
	if _, ok := s.rows[string(key)]; !ok {
		s.fresh[string(key)] = struct{}{}
	}
	s.rows[string(key)] = bytes.Clone(val)
	return nil
}

// Delete implements [fsm.Writer].
func (s *Store) Delete(key []byte) error {
	s.Deletes++
	delete(s.rows, string(key)) // its place in order is skipped by Scan
	return nil
}

// Scan implements [fsm.Reader].
func (s *Store) Scan(lower, upper []byte, reverse bool, fn func(k, v []byte) (bool, error)) error {
	s.Scans++
	s.settle()
	from := sort.SearchStrings(s.order, string(lower))
	to := sort.SearchStrings(s.order, string(upper))
	for i := from; i < to; i++ {
		k := s.order[i]
		if reverse {
			k = s.order[to-1-(i-from)]
		}
		val, ok := s.rows[k]
		if !ok {
			continue
		}
		if more, err := fn([]byte(k), val); err != nil || !more {
			return err
		}
	}
	return nil
}

// settle sorts what was added since the last Scan into the order.
func (s *Store) settle() {
	if len(s.fresh) == 0 {
		return
	}
	add := slices.Sorted(maps.Keys(s.fresh))
	clear(s.fresh)
	if len(add) <= 8 {
		for _, k := range add {
			if at, found := slices.BinarySearch(s.order, k); !found {
				s.order = slices.Insert(s.order, at, k)
			}
		}
		return
	}
	merged := make([]string, 0, len(s.order)+len(add))
	for _, k := range s.order {
		for len(add) > 0 && add[0] < k {
			merged, add = append(merged, add[0]), add[1:]
		}
		if len(add) > 0 && add[0] == k { // deleted and set again
			add = add[1:]
		}
		if _, ok := s.rows[k]; ok {
			merged = append(merged, k)
		}
	}
	s.order = append(merged, add...)
}

// Void takes writes and forgets them. It has no rows: a machine whose
// conversations are all in memory can be measured on it alone.
type Void struct{ Sets, Bytes int }

var _ fsm.Writer = (*Void)(nil)

// Get implements [fsm.Reader].
func (*Void) Get([]byte) ([]byte, bool, error) { return nil, false, nil }

// Scan implements [fsm.Reader].
func (*Void) Scan([]byte, []byte, bool, func(k, v []byte) (bool, error)) error { return nil }

// Set implements [fsm.Writer].
func (v *Void) Set(key, val []byte) error {
	v.Sets++
	v.Bytes += len(key) + len(val)
	return nil
}

// Delete implements [fsm.Writer].
func (*Void) Delete([]byte) error { return nil }
