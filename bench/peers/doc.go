// Command peerbench measures systems that chatnode is compared with: three
// processes of NATS JetStream (one stream, three replicas) or of etcd, on
// loopback, under the same work as `chatbench compare` gives chatnode.
//
// It is a module of its own, so that the clients of other systems never enter
// the dependencies of chatnode. The servers' binaries are named by the caller.
// Each run starts fresh processes in a temporary directory, prints one JSON
// line and ends what it started.
package main
