// Package faultfs shows a directory through FUSE and lets single file operations
// fail: the process that uses it is unchanged and has its data on the mount.
//
//	F1  Without rules it behaves as the directory below: reads, writes, mmap for
//	    reading, locks, renames, sync of files and directories.
//	F2  A rule acts on one kind of operation of files whose base name matches a
//	    pattern, after a number of hits and for a number of hits.
//	F3  A torn write leaves its first bytes in the file and reports the error.
//
// The program that mounted it serves it, and must not end before the process
// that uses it.
package faultfs
