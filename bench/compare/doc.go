// Package compare gives chatnode and its peers the same work in one run.
//
// Peers are measured by the program of bench/peers, which is a module of its
// own, with servers whose binaries the engineer names. Systems take turns, in
// another order each time, so that what else the machine does falls on all of
// them; what is reported is the ratio of the paired measurements.
//
// Invariants:
//
//	P1  A ratio is of two measurements of the same turn and the same work.
//	P2  Ratios above 1 say that chatnode is ahead, in every row.
//	P3  Every measurement is in the result file, not only the medians.
package compare
