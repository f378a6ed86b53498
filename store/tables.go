package store

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/chatnode/chatnode/shard"
)

// tableBytes is where another table begins. How large the current one is, which
// takes adding up the columns of a block, is asked once in tableAskBytes of rows.
const (
	tableBytes    = 64 << 20
	tableAskBytes = 64 << 10
)

// tables writes rows of a group, in the order of keys, to tables that are to be
// ingested together.
type tables struct {
	s      *State
	prefix string // of the names
	group  shard.GroupID
	level  int // they are written as for this level
	added  int // bytes of rows since the size of table was asked
	table  *sstable.Writer
	paths  []string
}

// put adds a row, or the deletion of one.
func (t *tables) put(key, val []byte, deleted bool) error {
	if t.added >= tableAskBytes && t.table != nil {
		t.added = 0
		if t.table.Raw().EstimatedSize() >= tableBytes {
			if err := t.close(); err != nil {
				return err
			}
		}
	}
	t.added += len(key) + len(val)
	if t.table == nil {
		if err := t.open(); err != nil {
			return err
		}
	}
	var err error
	if deleted {
		err = t.table.Delete(key)
	} else {
		err = t.table.Set(key, val)
	}
	if err != nil {
		return t.s.fatal.Fail("write table", err)
	}
	return nil
}

// putOwn adds the store's own rows.
func (t *tables) putOwn(pos position, cfg configuration) error {
	if err := t.put(appliedKey(t.group), pos.appendTo(nil), false); err != nil {
		return err
	}
	if cfg.data == nil && cfg.index == 0 {
		return nil
	}
	return t.put(configurationKey(t.group), cfg.appendTo(nil), false)
}

func (t *tables) open() error {
	s := t.s
	if err := s.fatal.Err(); err != nil {
		return err
	}
	path := s.fs.PathJoin(s.dir, fmt.Sprintf("%s%d-%d.sst", t.prefix, t.group, s.tables.Add(1)))
	f, err := s.fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return s.fatal.Fail("create table", err)
	}
	f = vfs.NewSyncingFile(f, vfs.SyncingFileOptions{BytesPerSync: bytesPerSync})
	t.paths = append(t.paths, path)
	o := s.opts.MakeWriterOptions(t.level, s.db.TableFormat())
	t.table = sstable.NewWriter(newTableFile(f), o)
	return nil
}

// close ends the current table, which makes its bytes durable.
func (t *tables) close() error {
	if t.table == nil {
		return nil
	}
	err := t.table.Close()
	t.table = nil
	if err != nil {
		return t.s.fatal.Fail("close table", err)
	}
	return nil
}

// remove gives the tables up.
func (t *tables) remove() {
	if t.table != nil {
		_ = t.table.Close() // the table is removed
		t.table = nil
	}
	for _, path := range t.paths {
		// What cannot be removed now is removed at the next start.
		if err := t.s.fs.Remove(path); err != nil {
			t.s.log.Warn("a table that was given up stays", "file", path, "err", err)
		}
	}
	t.paths = nil
}
