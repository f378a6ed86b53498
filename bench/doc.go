// Package bench holds the workloads that measure a cluster. They use it as any
// program does, by the client SDK, and say what they saw as JSON lines.
//
// Invariants:
//
//	B1  What is measured is in the result, with the configuration, the versions,
//	    the machine and the seed that give it again.
//	B2  In an open loop the time of a send is the scheduled one, so that a stall
//	    is counted for everything that waited behind it.
//	B3  Only answers within the measured window count, and the counters of
//	    processor and disk are read at its ends.
//	B4  A workload ends early and cleanly with its context.
package bench
