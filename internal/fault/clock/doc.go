// Package clock moves the wall clock of one running process.
//
// A Go program reads the time through the vDSO, so a preloaded library does not
// reach it. This package writes another __vdso_clock_gettime into the process's
// private copy of the vDSO: the real call, and for the wall clock an offset. The
// monotonic clock stays right.
//
//	V1  Only the given process is changed; no thread runs while it is.
//	V2  Jump(pid, 0) leaves a correct clock.
package clock
