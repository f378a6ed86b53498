// Package chaos tries to break a cluster of real processes and decides from the
// recorded history whether it kept its promises.
//
// A run starts the built binary N times, plainly on loopback or each in a
// network namespace, its data in a plain directory, on an ext4 disk of its own or
// behind a failing file system. Clients on the SDK write, read, subscribe, come
// and go, while a nemesis drawn from a seed injects faults one after the other
// or in pairs. Then everything is healed, every client has to succeed within a
// bound, every conversation is read from every replica, the nodes are stopped,
// their state hashes compared, and the history is checked.
//
//	X1  The schedule (faults, targets by number, times) follows from the seed.
//	X2  Every operation is recorded before it is sent; what has no answer is
//	    unknown, never dropped.
//	X3  A node that ends by itself is a failure, unless the fault of the moment
//	    is one that must end it.
//	X4  A failed run keeps history, logs and data, and prints the command that
//	    replays it.
//	X5  Safety is judged over the whole run, liveness only after the heal.
package chaos
