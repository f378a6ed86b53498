// Package placement decides which nodes hold replicas of which groups and who
// leads them, and carries it out one small step after another.
//
// [Plan] is pure: from what the nodes report it gives the next steps. [Loop]
// runs on every node and acts on the one that leads the meta group: it asks the
// nodes, plans, and carries the steps out. It keeps nothing that matters: a new
// leader of the meta group goes on from what it sees.
//
// A replica comes in this order: the map assigns it (its node starts it, empty),
// the group's leader adds it as a non-voter, it catches up, it is promoted. It
// goes in this order: out of the group's configuration, out of the map (its node
// wipes it).
//
// Invariants:
//
//	L1  At most one change of a group's configuration per round, made by the
//	    group's leader, and none while no leader reports.
//	L2  No step leaves a group with fewer live voters than the quorum it will
//	    then have.
//	L3  A node holds at most one replica of a group; the map refuses more. Where
//	    there are zones enough, no zone does.
//	L4  A replica leaves the configuration before it leaves the map, and enters
//	    the map before it enters the configuration.
//	L5  Growing, the number of voters goes from odd to odd as fast as the new
//	    ones have caught up: two voters are worse than one.
//	L6  Leaders are spread by one transfer at a time, only while nothing else
//	    is to be done and nothing has changed for a while: a crash is not
//	    followed by pauses of our own making.
//	L7  The same reports give the same steps.
package placement
