// Package fsm holds the format of the replicated log and the contract of the
// machines that run on it. The machines are fsm/conv and fsm/meta.
//
// A machine is a function from (state, stamp, commands) to (state, results,
// events). Nothing in this tree reads a clock, draws a random number, lets the
// order of a map reach an output, starts a goroutine or does I/O besides the
// transaction it is given. What a command needs from the world, the leader
// stamps into the batch before proposing it.
//
// Invariants:
//
//	F1  Equal prefixes of a group's log give equal state on every replica, in
//	    whatever batches, caches and restarts they were applied.
//	F2  A refused command leaves no trace in the state, unless the machine says
//	    that it keeps the answer.
//	F3  A command that this binary does not know, or cannot read, is refused
//	    before it reaches a log ([CheckCommand]); one that is in the log halts
//	    the group. To skip an entry is to diverge silently.
//	F4  An encoded command has one form: fields ascending, no unknown field.
//	F5  A tag, once released, keeps its meaning; a new one has a higher level.
//
// Log entries outlive the binary that wrote them. Add a command by taking the
// next free tag of its range, raising [LevelMax] and adding golden bytes.
package fsm
