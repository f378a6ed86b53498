// Package proc runs real processes and kills or pauses them. It owns the process
// from Start to the moment Done is closed.
//
//	P1  Signals go to the process that Start made, never to a name or a pid from
//	    elsewhere, and never after its end was collected.
//	P2  A process does not outlive the program that started it.
//	P3  What it prints goes to a file, so that a failed run can be read.
package proc
