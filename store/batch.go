package store

import (
	"bytes"
	"fmt"
	"io"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/store/rowbuf"
)

var _ fsm.Writer = (*Batch)(nil)

// Batch is one transaction of a group: what a machine writes while it applies
// some log entries, and how far that brings the group. A batch that is not
// committed must be closed; there is one at a time per group.
type Batch struct {
	g      *GroupState
	own    *overlay  // nil when the batch is closed
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
	b.open = true
	b.own = g.s.overlays.Get().(*overlay)
	return b
}

// Get implements [fsm.Reader] on the state with the batch's own writes.
func (b *Batch) Get(key []byte) (val []byte, ok bool, err error) {
	if err := b.release(); err != nil {
		return nil, false, err
	}
	if row := b.own.get(key); row != nil {
		if row.deleted {
			return nil, false, nil
		}
		return b.own.val(row), true, nil
	}
	// Rows go from memory to tables and never back, so what is not in memory now
	// is in the tables from here on or nowhere.
	mem := b.g.memory()
	if val, state := mem.get(key); state != rowbuf.Absent {
		return val, state == rowbuf.Present, nil
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
	if err := b.check(key, val); err != nil {
		return err
	}
	b.own.put(key, val, false)
	b.rows++
	b.bytes += rowBytes(len(key)-fsm.GroupBytes, len(val))
	return nil
}

// Delete implements [fsm.Writer].
func (b *Batch) Delete(key []byte) error {
	if err := b.check(key, nil); err != nil {
		return err
	}
	b.own.put(key, nil, true)
	return nil
}

// check keeps a machine within its range.
func (b *Batch) check(key, val []byte) error {
	if bytes.Compare(key, b.g.lower) < 0 || bytes.Compare(key, b.g.upper) >= 0 {
		return fmt.Errorf("key %x is outside the range of group %d", key, b.g.id)
	}
	if len(key) > rowbuf.KeyBytesMax || len(val) > rowbuf.ValueBytesMax {
		return fmt.Errorf("row of %d and %d bytes is too large", len(key), len(val))
	}
	return nil
}

// SetConfiguration stores the group's membership with the batch.
func (b *Batch) SetConfiguration(index uint64, data []byte) error {
	b.cfg = &configuration{index: index, data: slices.Clone(data)}
	return nil
}

// Commit makes the batch the state, which then contains the entries up to
// index. It does not wait for the disk, unless there is so much in memory that
// the disk has to catch up. The index never goes back; one equal to the applied
// index is taken for a batch that writes a configuration only.
func (b *Batch) Commit(index, term uint64) error {
	defer b.Close()
	if err := b.release(); err != nil {
		return err
	}
	g := b.g
	pos := g.position()
	if index < pos.index || term < pos.term {
		return fmt.Errorf("group %d: commit of index %d term %d below the applied %d term %d",
			g.id, index, term, pos.index, pos.term)
	}
	if err := g.s.room(); err != nil {
		return err
	}
	g.writeMu.Lock()
	defer g.writeMu.Unlock()
	if len(b.own.rows) > 0 && g.active == nil {
		g.setActive(&layer{buf: new(rowbuf.Buffer)})
	}
	var end rowbuf.Mark
	if len(b.own.rows) > 0 {
		end = b.fill(g.active.buf)
	}
	g.committed(index, term, b, end)
	return nil
}

// fill moves the batch's rows into the group's buffer.
func (b *Batch) fill(buf *rowbuf.Buffer) rowbuf.Mark {
	before := buf.Bytes()
	buf.Lock()
	for i := range b.own.rows {
		r := &b.own.rows[i]
		r.place = buf.Seek(b.own.key(r))
	}
	for i := range b.own.rows {
		r := &b.own.rows[i]
		buf.Put(r.place, b.own.key(r), b.own.val(r), r.deleted)
	}
	end := buf.Unlock()
	b.g.s.buffered(buf.Bytes() - before)
	return end
}

func (g *GroupState) position() position {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.pos
}

// committed makes a batch visible, whose rows lie before end.
func (g *GroupState) committed(index, term uint64, b *Batch, end rowbuf.Mark) {
	g.mu.Lock()
	defer g.mu.Unlock()
	// Counted from the position of this moment: a full pass may have lowered it.
	g.pos.index, g.pos.term = index, term
	g.pos.rows += b.rows
	g.pos.bytes += b.bytes
	if b.cfg != nil {
		g.cfg = *b.cfg
	}
	if end != 0 {
		g.end = end
	}
	g.dirty = true
}

// Close ends the batch; without a Commit before, nothing of it happened.
func (b *Batch) Close() {
	if !b.open {
		return
	}
	_ = b.release() // the value was read in full or not at all
	b.open = false
	b.rows, b.bytes, b.cfg = 0, 0, nil
	b.own.reset()
	b.g.s.overlays.Put(b.own)
	b.own = nil
}

// Scan implements [fsm.Reader] on the state with the batch's own writes.
func (b *Batch) Scan(lower, upper []byte, reverse bool, fn func(k, v []byte) (bool, error)) error {
	if err := b.release(); err != nil {
		return err
	}
	lower, upper = clampLower(lower, b.g.lower), clampUpper(upper, b.g.upper)
	if bytes.Compare(lower, upper) >= 0 {
		return nil
	}
	mem := b.g.memory() // before the tables, see Get
	it, err := b.g.s.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return readError("scan state", err)
	}
	var m merge
	if own := b.own.within(lower, upper, reverse); own.Valid() {
		m.over = append(m.over, &own)
	}
	m.addMemory(&mem, lower, upper, reverse)
	err = m.scan(it, reverse, fn)
	if cerr := it.Close(); err == nil {
		err = readError("scan state", cerr)
	}
	return err
}
