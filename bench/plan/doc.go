// Package plan is the capacity model: from daily users and their habits to
// groups, nodes, disks, memory and connections.
//
// It is a model on paper, fed with figures that chatbench measured on one
// machine (figures.json). It owns the formulas, which [Formulas] prints, and
// nothing else: it reads no cluster. Every division rounds up, every share is
// between 0 and 1, and all units are in the names.
package plan
