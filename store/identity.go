package store

import (
	"encoding/binary"
	"fmt"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/shard"
)

// FormatLevel is the newest layout of a data directory that this binary writes.
// It only rises; a directory of a higher one is refused.
const FormatLevel = 1

// Identity says whose directory it is. It is written once.
type Identity struct {
	Cluster string // id of the cluster
	Node    shard.NodeID
	Format  uint32 // level of the layout
}

const identityMagic = "chatnode-identity"

// Identity gives the identity; ok is false for a new directory.
func (d *Dir) Identity() (id Identity, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.identity, d.identity != Identity{}
}

// Claim makes the directory that of node in cluster, durably. Claiming it again
// for the same is nothing; for another it is [ErrIdentity].
func (d *Dir) Claim(cluster string, node shard.NodeID) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.identity != (Identity{}) {
		if d.identity.Cluster == cluster && d.identity.Node == node {
			return nil
		}
		return fmt.Errorf("directory of node %q in cluster %q, wanted node %q in cluster %q: %w",
			d.identity.Node, d.identity.Cluster, node, cluster, ErrIdentity)
	}
	if cluster == "" || node == "" || len(cluster) > 255 || len(node) > 255 {
		return chat.E("claim data directory", chat.Invalid, "cluster and node need an id of 1 to 255 bytes", nil)
	}
	id := Identity{Cluster: cluster, Node: node, Format: FormatLevel}
	if err := replaceFile(d.path, identityFile, id.appendTo(nil)); err != nil {
		return chat.E("claim data directory", chat.Internal, "the identity file cannot be written", err)
	}
	d.identity = id
	return nil
}

// appendTo appends: magic, format u32, two strings with a length byte each,
// CRC-32C of all before it.
func (id Identity) appendTo(b []byte) []byte {
	start := len(b)
	b = append(b, identityMagic...)
	b = binary.BigEndian.AppendUint32(b, id.Format)
	b = append(append(b, byte(len(id.Cluster))), id.Cluster...)
	b = append(append(b, byte(len(id.Node))), id.Node...)
	return binary.BigEndian.AppendUint32(b, crcOf(b[start:]))
}

func readIdentity(b []byte) (Identity, error) {
	body := len(b) - 4
	head := len(identityMagic) + 4
	if body < head+2 || string(b[:len(identityMagic)]) != identityMagic ||
		binary.BigEndian.Uint32(b[body:]) != crcOf(b[:body]) {
		return Identity{}, corrupt("identity file", nil)
	}
	id := Identity{Format: binary.BigEndian.Uint32(b[len(identityMagic):])}
	if id.Format > FormatLevel {
		return Identity{}, chat.E("open data directory", chat.UnsupportedVer,
			fmt.Sprintf("the directory has format level %d and this binary reads up to %d: use the newer binary", id.Format, FormatLevel), nil)
	}
	rest := b[head:body]
	var ok1, ok2 bool
	var cluster, node string
	cluster, rest, ok1 = cutString(rest)
	node, rest, ok2 = cutString(rest)
	if !ok1 || !ok2 || len(rest) != 0 {
		return Identity{}, corrupt("identity file", nil)
	}
	id.Cluster, id.Node = cluster, shard.NodeID(node)
	return id, nil
}

func cutString(b []byte) (s string, rest []byte, ok bool) {
	if len(b) == 0 || len(b)-1 < int(b[0]) {
		return "", nil, false
	}
	n := int(b[0])
	return string(b[1 : 1+n]), b[1+n:], true
}
