package store

import (
	"bytes"

	"github.com/cockroachdb/pebble/v2"
)

// scan visits the rows of it, whose bounds are set.
func scan(it *pebble.Iterator, reverse bool, fn func(k, v []byte) (bool, error)) error {
	ok := start(it, reverse)
	for ok {
		v, err := it.ValueAndErr()
		if err != nil {
			return readError("scan state", err)
		}
		more, err := fn(it.Key(), v)
		if err != nil || !more {
			return err
		}
		ok = step(it, reverse)
	}
	return readError("scan state", it.Error())
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

// scanMerged visits the rows of it with those of own put over them; own is in
// the order of the scan.
func scanMerged(it *pebble.Iterator, own []ownRow, reverse bool, fn func(k, v []byte) (bool, error)) error {
	ok := start(it, reverse)
	for ok || len(own) > 0 {
		order := 1 // who is next: below 0 the state, above 0 the batch, 0 both
		switch {
		case ok && len(own) > 0:
			order = bytes.Compare(it.Key(), own[0].key)
			if reverse {
				order = -order
			}
		case ok:
			order = -1
		}
		if order < 0 {
			v, err := it.ValueAndErr()
			if err != nil {
				return readError("scan state", err)
			}
			more, err := fn(it.Key(), v)
			if err != nil || !more {
				return err
			}
			ok = step(it, reverse)
			continue
		}
		row := own[0]
		own = own[1:]
		if order == 0 {
			ok = step(it, reverse)
		}
		if row.deleted {
			continue
		}
		more, err := fn(row.key, row.val)
		if err != nil || !more {
			return err
		}
	}
	return readError("scan state", it.Error())
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
