// Package sabotage is the switch of the negative controls: a binary built with
// the tag chaoscontrol breaks one promise on purpose, chosen by the environment
// variable CHATNODE_SABOTAGE, and the chaos harness has to notice. A suite that
// never fails proves nothing.
//
// In every other build the functions are constants, so that the hooks cost
// nothing, and the variable is not read.
//
//	nofsync    the log answers before its bytes are on disk
//	nodedup    a retried message is appended again
//	staleread  a default read is served without asking a quorum
//	noaccess   a former member reads what came after the removal
package sabotage
