package store

import (
	"bytes"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"
)

// numberProperty names the property of tables and of their blocks that holds the
// interval of the numbers of their rows.
const numberProperty = "chatnode.number"

// numbers keeps scans of numbered rows away from what has none of their numbers.
// Rows of one history come in the order of their numbers, so each of the tables that
// lie over each other has another part of it, and the keys at its edges, which are
// all that a table says of its content, do not tell which.
type numbers struct {
	of func(key []byte) (number uint64, ok bool)
}

// collector is what Pebble makes for each table it writes.
func (n numbers) collector() pebble.BlockPropertyCollector {
	return sstable.NewBlockIntervalCollector(numberProperty, n, nil)
}

// MapPointKey implements [sstable.IntervalMapper]. Deletions have the number of what
// they delete, so a filter shows or hides both.
func (n numbers) MapPointKey(key sstable.InternalKey, _ []byte) (sstable.BlockInterval, error) {
	number, ok := n.of(key.UserKey)
	if !ok {
		return sstable.BlockInterval{}, nil
	}
	return sstable.BlockInterval{Lower: number, Upper: number + 1}, nil
}

// MapRangeKeys implements [sstable.IntervalMapper]; there are no range keys.
func (numbers) MapRangeKeys(sstable.Span) (sstable.BlockInterval, error) {
	return sstable.BlockInterval{}, nil
}

// filter gives the filter for a scan whose bounds differ only in their number, nil
// for any other.
func (n numbers) filter(lower, upper []byte) []pebble.BlockPropertyFilter {
	const size = 8
	if n.of == nil || len(lower) != len(upper) || len(lower) < size {
		return nil
	}
	if stem := len(lower) - size; !bytes.Equal(lower[:stem], upper[:stem]) {
		return nil
	}
	from, ok := n.of(lower)
	to, also := n.of(upper)
	if !ok || !also {
		return nil
	}
	all := make([]pebble.BlockPropertyFilter, 1, 2) // room for one that Pebble adds
	all[0] = sstable.NewBlockIntervalFilter(numberProperty, from, to, nil)
	return all
}
