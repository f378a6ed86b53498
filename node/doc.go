// Package node is the composition root: it builds every part of a running
// chatnode, joins them, starts them in order and stops them in reverse. It is
// imported by the command and by tests only.
//
// It owns the order of starting and stopping, the node's configuration and the
// decision which groups run here; it has no logic of the log, of routing or of
// sessions.
//
// Invariants:
//
//	N1  Nothing is written before every port is bound, the directory is locked
//	    and the identity in it fits: a start that fails changes nothing.
//	N2  A part is stopped only after all that use it are stopped.
//	N3  A fatal error (disk, broken invariant) ends the process with its
//	    reason; the node never goes on with a part missing.
//	N4  Without a secret only dev starts, and it makes one of its own.
//	N5  A port beyond loopback needs TLS, or the operator's word that the
//	    network is closed.
package node
