// Package crash kills real processes under load and checks from recorded
// histories that nothing acknowledged is lost, doubled, reordered or renumbered.
// It has tests only. Those that take minutes run when CHATNODE_SLOW is set.
package crash
