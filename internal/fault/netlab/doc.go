// Package netlab makes hosts out of network namespaces and cuts, slows and
// garbles what goes between them.
//
//	N1  Nothing touches the network of the machine: the hosts hang on a bridge
//	    that lives in a namespace of its own, and so do their addresses.
//	N2  Faults are applied where a packet arrives, so a cut can be one-way.
//	N3  Heal takes back every fault; Close takes back every host.
//	N4  A process or a socket belongs to a host by being made on a thread that
//	    entered its namespace; mounts are shared with the machine.
//
// Delay, jitter and reordering go through an NFQUEUE that this package answers
// itself, since sch_netem is missing in many kernels. The queue is set to bypass:
// if the program ends, traffic flows.
package netlab
