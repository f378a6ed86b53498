package shard

import (
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// EncodedBytesMax bounds an encoded [Map].
const EncodedBytesMax = 1 << 20

// The fields of an encoded map. Numbers are stored by nodes and sent between
// them; they are never used again for something else. A reader skips those
// that it does not know.
const (
	mapCluster = 1
	mapEpoch   = 2
	mapLevel   = 3
	mapGroup   = 4
	mapNode    = 5
	mapRun     = 6 // length<<16 | group, in the order of the slots

	groupEpoch   = 2
	groupReplica = 3
)

// Append appends the encoded map to dst.
func (m *Map) Append(dst []byte) []byte {
	dst = appendString(dst, mapCluster, m.Cluster)
	dst = appendUint(dst, mapEpoch, m.Epoch)
	dst = appendUint(dst, mapLevel, uint64(m.Level))
	var sub []byte
	for i := range m.Groups {
		sub = m.Groups[i].Append(sub[:0])
		dst = protowire.AppendTag(dst, mapGroup, protowire.BytesType)
		dst = protowire.AppendBytes(dst, sub)
	}
	for i := range m.Nodes {
		sub = m.Nodes[i].Append(sub[:0])
		dst = protowire.AppendTag(dst, mapNode, protowire.BytesType)
		dst = protowire.AppendBytes(dst, sub)
	}
	return AppendSlots(dst, mapRun, m.slots[:])
}

// AppendSlots appends a table of slots as runs under field number num.
func AppendSlots(dst []byte, num protowire.Number, slots []GroupID) []byte {
	for i := 0; i < len(slots); {
		j := i + 1
		for j < len(slots) && slots[j] == slots[i] {
			j++
		}
		dst = appendUint(dst, num, uint64(j-i)<<16|uint64(slots[i]))
		i = j
	}
	return dst
}

// AddRun appends one run, as [AppendSlots] wrote it, to a table of slots.
func AddRun(slots []GroupID, run uint64) ([]GroupID, error) {
	n, g := run>>16, GroupID(run&0xffff)
	if n == 0 || n > uint64(Slots-len(slots)) {
		return nil, fmt.Errorf("%w: run of %d slots", errMap, n)
	}
	for range n {
		slots = append(slots, g)
	}
	return slots, nil
}

// Decode reads an encoded map and checks it. The result shares no memory with b.
func Decode(b []byte) (*Map, error) {
	if len(b) > EncodedBytesMax {
		return nil, fmt.Errorf("%w: %d bytes", errMap, len(b))
	}
	var m Map
	slots := make([]GroupID, 0, Slots)
	err := EachField(b, func(num protowire.Number, v uint64, data []byte) error {
		var err error
		switch num {
		case mapCluster:
			m.Cluster = string(data)
		case mapEpoch:
			m.Epoch = v
		case mapLevel:
			m.Level = uint32(min(v, math.MaxUint32))
		case mapGroup:
			var g Group
			if g, err = DecodeGroup(data); err == nil && len(m.Groups) <= GroupsMax {
				g.ID = GroupID(len(m.Groups))
				m.Groups = append(m.Groups, g)
			} else if err == nil {
				err = fmt.Errorf("%w: too many groups", errMap)
			}
		case mapNode:
			var n Node
			if n, err = DecodeNode(data); err == nil && len(m.Nodes) < NodesMax {
				m.Nodes = append(m.Nodes, n)
			} else if err == nil {
				err = fmt.Errorf("%w: too many nodes", errMap)
			}
		case mapRun:
			slots, err = AddRun(slots, v)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return New(m, slots)
}

// Append appends the encoded group, without its id, which its place gives.
func (g *Group) Append(dst []byte) []byte {
	dst = appendUint(dst, groupEpoch, g.Epoch)
	for _, id := range g.Replicas {
		dst = appendString(dst, groupReplica, string(id))
	}
	return dst
}

// DecodeGroup reads what [Group.Append] wrote.
func DecodeGroup(b []byte) (Group, error) {
	var g Group
	err := EachField(b, func(num protowire.Number, v uint64, data []byte) error {
		switch num {
		case groupEpoch:
			g.Epoch = v
		case groupReplica:
			if len(g.Replicas) == ReplicasMax {
				return fmt.Errorf("%w: too many replicas", errMap)
			}
			g.Replicas = append(g.Replicas, NodeID(data))
		}
		return nil
	})
	return g, err
}

// Append appends the encoded node.
func (n *Node) Append(dst []byte) []byte {
	dst = appendString(dst, 1, string(n.ID))
	dst = appendString(dst, 2, n.Client)
	dst = appendString(dst, 3, n.Peer)
	dst = appendString(dst, 4, n.Zone)
	dst = appendUint(dst, 5, uint64(n.State))
	dst = appendUint(dst, 6, uint64(n.Level))
	return appendString(dst, 7, string(n.Incarnation[:]))
}

// DecodeNode reads what [Node.Append] wrote.
func DecodeNode(b []byte) (Node, error) {
	var n Node
	err := EachField(b, func(num protowire.Number, v uint64, data []byte) error {
		switch num {
		case 1:
			n.ID = NodeID(data)
		case 2:
			n.Client = string(data)
		case 3:
			n.Peer = string(data)
		case 4:
			n.Zone = string(data)
		case 5:
			n.State = NodeState(min(v, math.MaxUint8))
		case 6:
			n.Level = uint32(min(v, math.MaxUint32))
		case 7:
			if len(data) != len(n.Incarnation) {
				return fmt.Errorf("%w: incarnation of %d bytes", errMap, len(data))
			}
			copy(n.Incarnation[:], data)
		}
		return nil
	})
	return n, err
}

// EachField calls fn for every field of a protobuf message: v is set for
// numbers, data (which aliases b) for bytes. Other wire types are refused.
func EachField(b []byte, fn func(num protowire.Number, v uint64, data []byte) error) error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return fmt.Errorf("%w: tag", errMap)
		}
		b = b[n:]
		var v uint64
		var data []byte
		switch typ {
		case protowire.VarintType:
			v, n = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			data, n = protowire.ConsumeBytes(b)
		default:
			return fmt.Errorf("%w: wire type %d", errMap, typ)
		}
		if n < 0 {
			return fmt.Errorf("%w: field %d is cut", errMap, num)
		}
		b = b[n:]
		if err := fn(num, v, data); err != nil {
			return err
		}
	}
	return nil
}

func appendUint(dst []byte, num protowire.Number, v uint64) []byte {
	if v == 0 {
		return dst
	}
	return protowire.AppendVarint(protowire.AppendTag(dst, num, protowire.VarintType), v)
}

func appendString(dst []byte, num protowire.Number, s string) []byte {
	if s == "" {
		return dst
	}
	return protowire.AppendString(protowire.AppendTag(dst, num, protowire.BytesType), s)
}
