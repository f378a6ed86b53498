package peer

import (
	"context"
	"encoding/json"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/shard"
)

// A unary call is rare: it and its answer are JSON.
type controlCall struct {
	Op      string        `json:"op"` // join, map, status, change
	Cluster string        `json:"cluster,omitempty"`
	To      shard.NodeID  `json:"to,omitempty"`
	Token   string        `json:"token,omitempty"`
	Node    []byte        `json:"node,omitempty"` // shard.Node.Append
	Change  *shard.Change `json:"change,omitempty"`
}

type controlAnswer struct {
	Fail   []byte            `json:"fail,omitempty"` // appendFail
	Map    []byte            `json:"map,omitempty"`
	Status *shard.NodeStatus `json:"status,omitempty"`
}

const (
	opJoin   = "join"
	opMap    = "map"
	opStatus = "status"
	opChange = "change"
)

func (s *Server) control(ctx context.Context, in []byte) (*frame, error) {
	var out controlAnswer
	select {
	case s.controls <- struct{}{}:
		defer func() { <-s.controls }()
		if err := s.serveControl(ctx, in, &out); err != nil {
			out = controlAnswer{Fail: appendFail(nil, err)}
		}
	default:
		out.Fail = appendFail(nil, chat.E("control", chat.Busy, "too many calls at once", nil))
	}
	b, err := json.Marshal(&out)
	if err != nil {
		return nil, err
	}
	return &frame{out: &b}, nil
}

func (s *Server) serveControl(ctx context.Context, in []byte, out *controlAnswer) error {
	var call controlCall
	if err := json.Unmarshal(in, &call); err != nil {
		return chat.E("control", chat.Invalid, "malformed call", err)
	}
	own := s.deps.Identity.Cluster()
	switch {
	case own == "":
		return chat.E("control", chat.Unavailable, "this node is not part of a cluster yet", nil)
	case call.Op != opJoin && call.Cluster != own, call.Cluster != "" && call.Cluster != own:
		return chat.E("control", chat.WrongClust, "this node belongs to another cluster", nil)
	case call.To != "" && call.To != s.deps.Identity.Self:
		return chat.E("control", chat.NotFound, "another node has this address", nil)
	}
	var m *shard.Map
	var err error
	switch call.Op {
	case opJoin:
		var n shard.Node
		if n, err = shard.DecodeNode(call.Node); err != nil {
			return chat.E("join", chat.Invalid, "malformed node", err)
		}
		m, err = s.deps.Control.Join(ctx, Join{Token: call.Token, Node: n})
	case opMap:
		m, err = s.deps.Control.Map(ctx)
	case opStatus:
		var st shard.NodeStatus
		st, err = s.deps.Control.Status(ctx)
		out.Status = &st
	case opChange:
		if call.Change == nil {
			return chat.E("control", chat.Invalid, "no change is given", nil)
		}
		err = s.deps.Control.Change(ctx, *call.Change)
	default:
		return chat.E("control", chat.UnknownType, "this version does not know the call", nil)
	}
	if m != nil {
		out.Map = m.Append(nil)
	}
	return err
}

// invoke makes a unary call on cc.
func invoke(ctx context.Context, cc *grpc.ClientConn, call *controlCall) (out controlAnswer, err error) {
	b, err := json.Marshal(call)
	if err != nil {
		return out, err
	}
	in := frame{owned: true}
	if err := cc.Invoke(ctx, methodControl, &frame{out: &b}, &in); err != nil {
		return out, chat.E("control", chat.Unavailable, "the other node does not answer", err)
	}
	if err := json.Unmarshal(in.in, &out); err != nil {
		return out, chat.E("control", chat.Internal, "the answer cannot be read", err)
	}
	if out.Fail == nil {
		return out, nil
	}
	fault, err := readFail(out.Fail)
	if err != nil {
		return out, chat.E("control", chat.Internal, "the answer cannot be read", err)
	}
	return out, fault
}

// JoinAt asks the node at addr to let this node join, and gives the cluster's
// map. cluster is the id that this node belongs to already, "" for none.
func JoinAt(ctx context.Context, dial Dialer, addr, cluster string, j Join) (*shard.Map, error) {
	cc, _, err := newConn(dial, addr, &bytePool{}, DefaultConfig().ReconnectMax)
	if err != nil {
		return nil, err
	}
	defer cc.Close() //nolint:errcheck // a connection that is not used any more
	out, err := invoke(ctx, cc, &controlCall{Op: opJoin, Cluster: cluster, Token: j.Token, Node: j.Node.Append(nil)})
	if err != nil {
		return nil, err
	}
	return shard.Decode(out.Map)
}

// newConn makes a connection that gRPC opens when it is used and keeps open.
func newConn(dial Dialer, addr string, pool *bytePool, pauseMax time.Duration) (*grpc.ClientConn, *wireHolder, error) {
	wire := newWireHolder(dial)
	opts := []grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()), // dial does TLS, where it is wanted
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(rawCodec{pool}),
			grpc.MaxCallRecvMsgSize(frameBytesMax), grpc.MaxCallSendMsgSize(frameBytesMax)),
		grpc.WithInitialWindowSize(windowBytes), grpc.WithInitialConnWindowSize(windowBytes),
		grpc.WithWriteBufferSize(socketBytes), grpc.WithReadBufferSize(socketBytes),
		grpc.WithConnectParams(connectParams(pauseMax)),
		grpc.WithDisableServiceConfig(), grpc.WithDisableRetry(), grpc.WithNoProxy(),
		grpc.WithContextDialer(wire.open),
	}
	cc, err := grpc.NewClient("passthrough:///"+addr, opts...)
	if err != nil {
		return nil, nil, chat.E("connect", chat.Invalid, "malformed peer address", err)
	}
	return cc, wire, nil
}
