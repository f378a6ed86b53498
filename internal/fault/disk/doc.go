// Package disk gives a node a real ext4 file system in a file, and cuts its
// power.
//
//	D1  After Cut nothing reaches the disk any more, and what was not synced
//	    before is gone after Restore. The kernel's file system is unchanged, so
//	    what survives is what would survive.
//	D2  The journal never commits by itself (commit=600, no lazy initialisation),
//	    so a missing fsync shows.
//	D3  Restore unmounts for good first: a mount that is still busy would bring
//	    the dead superblock back, and a control would pass for the wrong reason.
package disk
