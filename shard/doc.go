// Package shard says where a key lives: key → slot → group → nodes.
//
// It owns the hash, the number of slots and [Map], the immutable snapshot of
// the placement that the meta group (group 0) keeps and every node holds a
// copy of. It is pure: no I/O, no clock, no goroutine.
//
// Invariants:
//
//	P1  Hash and the number of slots never change: they are part of stored keys.
//	P2  Every slot belongs to exactly one conversation group, 1 … len(Groups)-1.
//	P3  Groups[i].ID == i; a group's replicas are distinct nodes of the map.
//	P4  Nodes are sorted by id; an id is never given to another node again.
//	P5  Two maps of one cluster with the same epoch are equal.
package shard
