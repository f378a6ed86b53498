// Package invariant names what must never be false.
//
// A broken invariant is a fault of the program or of the disk, not of a caller:
// the code that finds one returns [Broken], and whoever runs that code stops
// the group or the process with it (nothing is skipped, nothing is repaired by
// guessing). It is an error and not a panic, so that a replica stops with its
// batch uncommitted and its other groups closed in order.
package invariant

import (
	"fmt"
	"strings"
)

// Error says which invariant does not hold, and the values that show it.
type Error struct {
	Msg  string // constant, as in a log line
	Args []any  // key, value, key, value, …
}

// Broken makes an [Error] from a constant message and pairs of key and value.
func Broken(msg string, args ...any) error {
	return &Error{Msg: msg, Args: args}
}

// Error gives "invariant broken: msg key=value …".
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("invariant broken: ")
	b.WriteString(e.Msg)
	for i := 0; i < len(e.Args); i += 2 {
		if i+1 == len(e.Args) {
			fmt.Fprintf(&b, " %v", e.Args[i])
			break
		}
		fmt.Fprintf(&b, " %v=%v", e.Args[i], e.Args[i+1])
	}
	return b.String()
}
