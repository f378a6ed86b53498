// Package nodetest holds the tests of whole nodes: growing, stopping, crashing
// and coming back, and what a node says when it is started wrongly. They run
// real processes of the built binary.
package nodetest
