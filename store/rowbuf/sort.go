package rowbuf

import (
	"bytes"
	"slices"
)

// sorted is a position of a chain that is not in order, with the eight bytes of
// its key that follow what the chain shares.
type sorted struct {
	head uint64
	at   Mark
}

// radixMin is the number of rows from which on counting is cheaper than comparing.
const radixMin = 512

// headLen is the length of a head.
const headLen = 8

// sortByKey sorts rows by their heads, and those with equal heads by what follows
// in their keys. It gives the sorted rows, whose heads mean nothing any more, and
// memory that is free, to be passed again.
//
// The rows that are many and not in order are those of client ids. Their heads are
// times and a few random bits, so counting touches four of eight bytes.
func sortByKey(rows, spare []sorted, key func(Mark) []byte) (out, free []sorted) {
	byKey := func(x, y sorted) int {
		if x.head != y.head {
			return compare(x.head, y.head)
		}
		return bytes.Compare(key(x.at), key(y.at))
	}
	if len(rows) < radixMin {
		slices.SortFunc(rows, byKey)
		return rows, spare
	}
	rows, spare = sortByHead(rows, slices.Grow(spare[:0], len(rows))[:len(rows)])
	for i := 0; i < len(rows); {
		end := i + 1
		for end < len(rows) && rows[end].head == rows[i].head {
			end++
		}
		if end > i+1 {
			for j := range rows[i:end] {
				rows[i+j].head = headOf(key(rows[i+j].at), ChainBytes+headLen)
			}
			slices.SortFunc(rows[i:end], byKey)
		}
		i = end
	}
	return rows, spare
}

// sortByHead sorts by counting, the least byte of the heads first, and leaves out
// the bytes in which all heads agree. spare is as long as rows; the two are given
// back, the sorted one first.
func sortByHead(rows, spare []sorted) (out, free []sorted) {
	var differ uint64
	for i := range rows {
		differ |= rows[i].head ^ rows[0].head
	}
	for shift := 0; shift < 64; shift += 8 {
		if byte(differ>>shift) == 0 {
			continue
		}
		var next [256]int
		for i := range rows {
			next[byte(rows[i].head>>shift)]++
		}
		sum := 0
		for i, n := range next {
			next[i] = sum
			sum += n
		}
		for i := range rows {
			to := &next[byte(rows[i].head>>shift)]
			spare[*to] = rows[i]
			*to++
		}
		rows, spare = spare, rows
	}
	return rows, spare
}
