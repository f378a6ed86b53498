// Package fsmtest helps to test the machines: rows in memory, batches from
// commands, a dumb reference model of conversations and a seeded generator of
// commands that both the model and the machine are given.
//
// It is for tests and benchmarks only.
package fsmtest
