// Package target is the cluster that a workload runs against: one that runs
// already and is named by addresses, or one of real processes that is spawned
// for the run, on free ports of loopback and in a directory of its own.
//
// Invariants:
//
//	T1  A spawned process ends with the run, however the run ends.
//	T2  A spawned node that is started again keeps its addresses and its data.
//	T3  The directory is removed at Close unless it was to be kept.
package target
