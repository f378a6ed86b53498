// Package meta is the machine of group 0: the cluster's id, its nodes, its
// groups with their replicas and slots, and its level. Its rows give the
// [shard.Map] that every node routes by.
//
// Invariants:
//
//	M1  A cluster is bootstrapped once; until then every other command is
//	    refused.
//	M2  A node id that was removed is never accepted again, and an id in use is
//	    accepted only from the directory (incarnation) that joined with it.
//	M3  Replicas of a group change only against the epoch that the proposer
//	    saw, so two placement loops cannot undo each other's step.
//	M4  A node that holds a replica is not removed.
//	M5  Every accepted change raises the epoch of the map by one; a refused or
//	    repeated command changes nothing.
//	M6  The join token is known by its hash only.
//
// It is pure, as everything under fsm.
package meta
