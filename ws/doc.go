// Package ws carries sessions over WebSockets.
//
// melody is used as the pump of a socket and for nothing else: it upgrades,
// reads, writes and pings. Which frames go out, and when, is the session's
// decision; a link asks it for the next one only when melody has room.
//
// Invariants:
//
//	K1  At most Credit frames of a link are in melody's buffer, which is
//	    larger, so that melody never drops one. Should it say that it did, the
//	    connection is broken off: a hole is worse than an end.
//	K2  Broadcast*, and Session.Close on a stuck link, are never called: a link
//	    that must go is closed by its own net.Conn.
//	K3  Everything that can be refused is refused before the connection is taken
//	    from net/http, so that refusals are ordinary HTTP answers.
//	K4  A connection that the node closes is half closed first and read until
//	    the client has closed too, or a moment has passed: otherwise unread input
//	    would make the kernel throw the last frames away.
package ws
