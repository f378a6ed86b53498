package meta

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/shard"
)

// The tags of this machine's commands.
const (
	TagBootstrap    fsm.Tag = 100
	TagJoinNode     fsm.Tag = 101
	TagUpdateNode   fsm.Tag = 102
	TagSetNodeState fsm.Tag = 103
	TagRemoveNode   fsm.Tag = 104
	TagSetReplicas  fsm.Tag = 105
	TagSetToken     fsm.Tag = 106
)

// TokenHash is what is kept of a join token.
type TokenHash [32]byte

// HashToken hashes a join token, which must carry at least 128 random bits of
// its own: it is not salted.
func HashToken(token string) TokenHash {
	return sha256.Sum256([]byte("chatnode join token\x00" + token))
}

// Command is one of the structs below.
type Command interface {
	Tag() fsm.Tag
	appendBody(dst []byte) []byte
}

// Bootstrap makes the cluster: groups conversation groups, all on the founder.
// Repeated with the same content it is accepted again.
type Bootstrap struct {
	Cluster string
	Groups  uint32
	Token   TokenHash
	Founder shard.Node
}

// JoinNode adds a node. Repeated from the same directory it is accepted again.
type JoinNode struct {
	Token TokenHash
	Node  shard.Node // its State is ignored
}

// UpdateNode changes addresses, zone and level of a node that has joined.
type UpdateNode struct {
	Node shard.Node // its State is ignored; its Incarnation must match
}

// SetNodeState asks a node's replicas to leave, or takes that back.
type SetNodeState struct {
	ID    shard.NodeID
	State shard.NodeState
}

// RemoveNode ends a node's membership for good. It is refused while the node
// holds a replica.
type RemoveNode struct {
	ID shard.NodeID
}

// SetReplicas says which nodes hold a replica of a group. Epoch is the group's
// epoch that the change is based on.
type SetReplicas struct {
	Group    shard.GroupID
	Epoch    uint64
	Replicas []shard.NodeID
}

// SetToken replaces the join token.
type SetToken struct {
	Token TokenHash
}

// Tag implements [Command].
func (Bootstrap) Tag() fsm.Tag { return TagBootstrap }

// Tag implements [Command].
func (JoinNode) Tag() fsm.Tag { return TagJoinNode }

// Tag implements [Command].
func (UpdateNode) Tag() fsm.Tag { return TagUpdateNode }

// Tag implements [Command].
func (SetNodeState) Tag() fsm.Tag { return TagSetNodeState }

// Tag implements [Command].
func (RemoveNode) Tag() fsm.Tag { return TagRemoveNode }

// Tag implements [Command].
func (SetReplicas) Tag() fsm.Tag { return TagSetReplicas }

// Tag implements [Command].
func (SetToken) Tag() fsm.Tag { return TagSetToken }

// Encode appends the encoded command to dst.
func Encode(dst []byte, c Command) []byte {
	return fsm.Wrap(dst, c.Tag(), c.appendBody(nil))
}

func (c Bootstrap) appendBody(b []byte) []byte {
	b = appendBytes(b, 1, []byte(c.Cluster))
	b = appendUint(b, 2, uint64(c.Groups))
	b = appendBytes(b, 3, c.Token[:])
	return appendBytes(b, 4, c.Founder.Append(nil))
}

func (c JoinNode) appendBody(b []byte) []byte {
	b = appendBytes(b, 1, c.Token[:])
	return appendBytes(b, 2, c.Node.Append(nil))
}

func (c UpdateNode) appendBody(b []byte) []byte { return appendBytes(b, 1, c.Node.Append(nil)) }

func (c SetNodeState) appendBody(b []byte) []byte {
	b = appendBytes(b, 1, []byte(c.ID))
	return appendUint(b, 2, uint64(c.State))
}

func (c RemoveNode) appendBody(b []byte) []byte { return appendBytes(b, 1, []byte(c.ID)) }

func (c SetReplicas) appendBody(b []byte) []byte {
	b = appendUint(b, 1, uint64(c.Group))
	b = appendUint(b, 2, c.Epoch)
	for _, id := range c.Replicas {
		b = appendBytes(b, 3, []byte(id))
	}
	return b
}

func (c SetToken) appendBody(b []byte) []byte { return appendBytes(b, 1, c.Token[:]) }

func appendUint(b []byte, num protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), v)
}

func appendBytes(b []byte, num protowire.Number, v []byte) []byte {
	if len(v) == 0 {
		return b
	}
	return protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), v)
}

// CheckCommand reports whether b is a command that may go to the meta group:
// one of this package or a RaiseLevel, well-formed and in its one form.
func CheckCommand(b []byte) error {
	tag, _, err := fsm.Split(b)
	if err != nil {
		return err
	}
	if tag == fsm.TagRaiseLevel {
		return fsm.CheckCommand(b)
	}
	_, err = Decode(b)
	return err
}

// Decode decodes a command of this package. Nothing of b is kept.
func Decode(b []byte) (Command, error) {
	tag, body, err := fsm.Split(b)
	if err != nil {
		return nil, err
	}
	var c Command
	switch tag {
	case TagBootstrap:
		c, err = decodeBootstrap(body)
	case TagJoinNode:
		c, err = decodeJoin(body)
	case TagUpdateNode:
		c, err = decodeUpdate(body)
	case TagSetNodeState, TagRemoveNode:
		c, err = decodeNodeChange(tag, body)
	case TagSetReplicas:
		c, err = decodeReplicas(body)
	case TagSetToken:
		c, err = decodeToken(body)
	default:
		return nil, fsm.UnknownTag(tag)
	}
	if err != nil {
		return nil, chat.E("decode meta command", chat.Invalid, "malformed command", err)
	}
	if !bytes.Equal(Encode(make([]byte, 0, len(b)), c), b) {
		return nil, chat.E("decode meta command", chat.Invalid, "not in its one encoded form", nil)
	}
	return c, nil
}

func decodeBootstrap(body []byte) (Command, error) {
	var c Bootstrap
	err := shard.EachField(body, func(num protowire.Number, v uint64, data []byte) (err error) {
		switch num {
		case 1:
			c.Cluster = string(data)
		case 2:
			c.Groups = uint32(min(v, math.MaxUint32))
		case 3:
			c.Token, err = tokenOf(data)
		case 4:
			c.Founder, err = shard.DecodeNode(data)
		}
		return err
	})
	return c, err
}

func decodeJoin(body []byte) (Command, error) {
	var c JoinNode
	err := shard.EachField(body, func(num protowire.Number, _ uint64, data []byte) (err error) {
		switch num {
		case 1:
			c.Token, err = tokenOf(data)
		case 2:
			c.Node, err = shard.DecodeNode(data)
		}
		return err
	})
	return c, err
}

func decodeUpdate(body []byte) (Command, error) {
	var c UpdateNode
	err := shard.EachField(body, func(num protowire.Number, _ uint64, data []byte) (err error) {
		if num == 1 {
			c.Node, err = shard.DecodeNode(data)
		}
		return err
	})
	return c, err
}

func decodeNodeChange(tag fsm.Tag, body []byte) (Command, error) {
	var c SetNodeState
	err := shard.EachField(body, func(num protowire.Number, v uint64, data []byte) error {
		switch num {
		case 1:
			c.ID = shard.NodeID(data)
		case 2:
			c.State = shard.NodeState(min(v, math.MaxUint8))
		}
		return nil
	})
	if tag == TagRemoveNode {
		return RemoveNode{ID: c.ID}, err
	}
	return c, err
}

func decodeReplicas(body []byte) (Command, error) {
	var c SetReplicas
	err := shard.EachField(body, func(num protowire.Number, v uint64, data []byte) error {
		switch num {
		case 1:
			c.Group = shard.GroupID(min(v, math.MaxUint32))
		case 2:
			c.Epoch = v
		case 3:
			if len(c.Replicas) == shard.ReplicasMax {
				return fmt.Errorf("more than %d replicas", shard.ReplicasMax)
			}
			c.Replicas = append(c.Replicas, shard.NodeID(data))
		}
		return nil
	})
	return c, err
}

func decodeToken(body []byte) (Command, error) {
	var c SetToken
	err := shard.EachField(body, func(num protowire.Number, _ uint64, data []byte) (err error) {
		if num == 1 {
			c.Token, err = tokenOf(data)
		}
		return err
	})
	return c, err
}

func tokenOf(data []byte) (t TokenHash, err error) {
	if len(data) != len(t) {
		return t, fmt.Errorf("token hash of %d bytes", len(data))
	}
	copy(t[:], data)
	return t, nil
}
