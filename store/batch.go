package store

import (
	"bytes"
	"fmt"
	"io"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/chatnode/chatnode/fsm"
)

var _ fsm.Writer = (*Batch)(nil)

// Batch is one transaction of a group: what a machine writes while it applies
// some log entries, and how far that brings the group. A batch that is not
// committed must be closed; there is one at a time per group.
type Batch struct {
	g      *GroupState
	b      *pebble.Batch
	own    overlay
	closer io.Closer // of the value that Get gave last
	open   bool
	rows   uint64
	bytes  uint64
	cfg    *configuration
}

// Begin starts a batch.
func (g *GroupState) Begin() *Batch {
	b := &g.batch
	if b.open {
		b.Close()
	}
	if b.b == nil {
		b.b = g.s.db.NewBatch()
	}
	b.open = true
	return b
}

// Get implements [fsm.Reader] on the state with the batch's own writes.
func (b *Batch) Get(key []byte) (val []byte, ok bool, err error) {
	if err := b.release(); err != nil {
		return nil, false, err
	}
	if val, state := b.own.get(b.b.Repr(), key); state != absent {
		return val, state == present, nil
	}
	val, closer, err := b.g.s.db.Get(key)
	if err != nil {
		if err = readError("read state", err); err == ErrNotFound { //nolint:errorlint // readError returns it bare
			return nil, false, nil
		}
		return nil, false, err
	}
	b.closer = closer
	return val, true, nil
}

func (b *Batch) release() error {
	if b.closer == nil {
		return nil
	}
	err := b.closer.Close()
	b.closer = nil
	return err
}

// Set implements [fsm.Writer].
func (b *Batch) Set(key, val []byte) error {
	if err := b.check(key); err != nil {
		return err
	}
	if err := b.b.Set(key, val, nil); err != nil {
		return fmt.Errorf("set: %w", err)
	}
	b.own.set(b.b.Repr(), key, len(val))
	b.rows++
	b.bytes += rowBytes(len(key)-fsm.GroupBytes, len(val))
	return nil
}

// Delete implements [fsm.Writer].
func (b *Batch) Delete(key []byte) error {
	if err := b.check(key); err != nil {
		return err
	}
	if err := b.b.Delete(key, nil); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	b.own.del(b.b.Repr(), key)
	return nil
}

// check keeps a machine within its range.
func (b *Batch) check(key []byte) error {
	if bytes.Compare(key, b.g.lower) < 0 || bytes.Compare(key, b.g.upper) >= 0 {
		return fmt.Errorf("key %x is outside the range of group %d", key, b.g.id)
	}
	return nil
}

// SetConfiguration stores the group's membership with the batch.
func (b *Batch) SetConfiguration(index uint64, data []byte) error {
	c := configuration{index: index, data: slices.Clone(data)}
	if err := b.b.Set(configurationKey(b.g.id), c.appendTo(nil), nil); err != nil {
		return fmt.Errorf("set configuration: %w", err)
	}
	b.cfg = &c
	return nil
}

// Commit makes the batch the state, which then contains the entries up to
// index. It does not wait for the disk. The index never goes back; one equal to
// the applied index is taken for a batch that writes a configuration only.
func (b *Batch) Commit(index, term uint64) error {
	defer b.Close()
	if err := b.release(); err != nil {
		return err
	}
	pos := b.g.position()
	if index < pos.index || term < pos.term {
		return fmt.Errorf("group %d: commit of index %d term %d below the applied %d term %d",
			b.g.id, index, term, pos.index, pos.term)
	}
	pos.index, pos.term = index, term
	pos.rows += b.rows
	pos.bytes += b.bytes
	var val [appliedBytes]byte
	if err := b.b.Set(appliedKey(b.g.id), pos.appendTo(val[:0]), nil); err != nil {
		return fmt.Errorf("set applied: %w", err)
	}
	if err := b.g.s.apply(b.b); err != nil {
		return err
	}
	b.g.committed(pos, b.cfg)
	return nil
}

func (g *GroupState) position() position {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.pos
}

func (g *GroupState) committed(pos position, cfg *configuration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.pos = pos
	if cfg != nil {
		g.cfg = *cfg
	}
}

// Close ends the batch; without a Commit before, nothing of it happened.
func (b *Batch) Close() {
	if !b.open {
		return
	}
	_ = b.release() // the value was read in full or not at all
	b.open = false
	b.rows, b.bytes, b.cfg = 0, 0, nil
	if b.own.reset() || b.b.Len() > batchKeepBytes {
		_ = b.b.Close()
		b.b = nil
		return
	}
	b.b.Reset()
}

// batchKeepBytes bounds the buffer that a group keeps between batches.
const batchKeepBytes = 256 << 10

// Scan implements [fsm.Reader] on the state with the batch's own writes.
func (b *Batch) Scan(lower, upper []byte, reverse bool, fn func(k, v []byte) (bool, error)) error {
	if err := b.release(); err != nil {
		return err
	}
	it, err := b.g.s.db.NewIter(&pebble.IterOptions{
		LowerBound: clampLower(lower, b.g.lower),
		UpperBound: clampUpper(upper, b.g.upper),
	})
	if err != nil {
		return readError("scan state", err)
	}
	own := b.own.within(b.b.Repr(), lower, upper, reverse)
	if len(own) == 0 {
		err = scan(it, reverse, fn)
	} else {
		err = scanMerged(it, own, reverse, fn)
	}
	if cerr := it.Close(); err == nil {
		err = readError("scan state", cerr)
	}
	return err
}
