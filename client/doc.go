// Package client is the Go SDK: it sends to and reads from conversations over
// one WebSocket connection to any node of a cluster, and keeps its promises
// while nodes, connections and leaders come and go.
//
// A [Client] is one session of one device. It owns an outbox of sends that are
// not yet answered, the subscriptions that are open, and the requests that
// wait. When the connection breaks it dials another address after a random
// pause, says hello, resends the outbox in order under the same ids, opens the
// subscriptions again from the entry after the last one delivered, and repeats
// the requests. Callers see a pause, not an error.
//
// Invariants:
//
//	K1  A message keeps its client id over any number of attempts, so it is
//	    appended at most once.
//	K2  Messages of one Client to one conversation are appended in the order of
//	    the calls: each names in `after` the nearest earlier one without an
//	    answer, and nothing is sent past the first that was refused for now.
//	K3  A subscription delivers the entries from its start without gap,
//	    duplicate or reordering. What it cannot hold it reads again later. For
//	    a user who was removed it ends behind the entry that says so.
//	K4  A callback runs exactly once for every accepted send, also when the
//	    client is closed.
//	K5  Queues are bounded by number and bytes. Send waits for room.
//	K6  Close waits until every goroutine of the client has ended.
//
// Callbacks and handlers run on the goroutine that reads the connection. They
// must return soon and must not call what waits for an answer (Send, History,
// Close, …); SendAsync from a callback is allowed with [Message.NoWait].
package client
