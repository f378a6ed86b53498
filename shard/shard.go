package shard

import "github.com/cespare/xxhash/v2"

// GroupID names a Raft group: 0 is the meta group, 1 … [GroupsMax] hold
// conversations.
type GroupID uint32

// Meta is the group that keeps the cluster's own state.
const Meta GroupID = 0

// Slot is one of [Slots] ranges of the hash.
type Slot uint16

// NodeID names a node. It is chosen when the node joins and never used again
// with a wiped disk.
type NodeID string

// Limits of a cluster.
const (
	Slots          = 4096
	GroupsMax      = 256 // conversation groups
	NodesMax       = 128
	ReplicasMax    = 9 // per group, moves in progress included
	NodeIDBytesMax = 64
	AddrBytesMax   = 255
	ZoneBytesMax   = 64
	ClusterBytes   = 64 // longest cluster id
)

const slotShift = 64 - 12

// Hash is the 64-bit hash of a key; its top 12 bits are the key's slot.
func Hash(key string) uint64 { return xxhash.Sum64String(key) }

// SlotOf is the slot of a key.
func SlotOf(key string) Slot { return Slot(Hash(key) >> slotShift) }

// SlotOfHash is the slot of a key whose [Hash] is known.
func SlotOfHash(hash uint64) Slot { return Slot(hash >> slotShift) }

// ValidNodeID reports whether id may name a node: 1 to [NodeIDBytesMax] bytes
// of ASCII letters, digits and "-_.".
func ValidNodeID(id NodeID) bool { return validName(string(id), NodeIDBytesMax) }

// ValidCluster reports whether s may be a cluster id, in a node id's alphabet.
func ValidCluster(s string) bool { return validName(s, ClusterBytes) }

func validName(s string, max int) bool {
	if len(s) < 1 || len(s) > max {
		return false
	}
	for i := 0; i < len(s); i++ {
		b := s[i]
		switch {
		case 'a' <= b && b <= 'z', 'A' <= b && b <= 'Z', '0' <= b && b <= '9':
		case b == '-', b == '_', b == '.':
		default:
			return false
		}
	}
	return true
}

// Printable reports whether s is at most max bytes of visible ASCII, as zones and
// addresses are.
func Printable(s string, max int) bool {
	if len(s) > max {
		return false
	}
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
