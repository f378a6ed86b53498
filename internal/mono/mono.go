// Package mono tells time that nobody sets. A wall clock that is put right, or
// wrong, jumps; what is kept as a number of nanoseconds of it is then a moment
// hours ahead, and whoever waits for that moment waits for hours.
//
//	M1  Now never goes back within a process, whatever happens to the clock.
//	M2  Now is above an hour's nanoseconds, so that 0 can mean never and is long ago.
//	M3  The numbers mean nothing to another process.
package mono

import "time"

// begin carries Go's monotonic reading, by which the others are measured.
var begin = time.Now().Add(-time.Hour)

// Now is the present moment in nanoseconds.
func Now() int64 { return Of(time.Now()) }

// Of is a moment that [time.Now] gave, or that was computed from one by Add.
func Of(t time.Time) int64 { return int64(t.Sub(begin)) }

// Since is the time that has passed since a moment of [Now].
func Since(at int64) time.Duration { return time.Duration(Now() - at) }
