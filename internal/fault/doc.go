// Package fault is the parent of what breaks a running cluster on purpose, with
// means of the operating system and without any help of the service: proc kills
// and pauses processes, netlab cuts and slows networks, disk cuts the power of a
// file system, faultfs lets single file operations fail, clock moves a process's
// wall clock, atrest damages bytes of a stopped node. Each needs Linux, most need
// root; a test that lacks its means skips and says so.
//
// The package itself owns only [Need], the list of means.
package fault
