package peer

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fanout"
	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/shard"
)

// The names of the service. They go between versions.
const (
	serviceName   = "chatnode.v1.Peer"
	methodCalls   = "/" + serviceName + "/Calls"
	methodFeed    = "/" + serviceName + "/Feed"
	methodControl = "/" + serviceName + "/Control"

	headerCluster = "chatnode-cluster"
	headerTo      = "chatnode-to"
	headerFrom    = "chatnode-from"
)

// ServerDeps are what a server works with.
type ServerDeps struct {
	Identity Identity
	Backend  Backend
	Feed     fanout.Feed // of what this node leads
	Control  Control
	Logger   *slog.Logger
}

// Server serves other nodes.
type Server struct {
	cfg      Config
	deps     ServerDeps
	pool     bytePool
	calls    sync.Pool // of *served
	grpc     *grpc.Server
	controls chan struct{} // tokens of running unary calls
}

// NewServer makes a server; Serve starts it.
func NewServer(cfg Config, deps ServerDeps) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{cfg: cfg, deps: deps, controls: make(chan struct{}, cfg.ControlsMax)}
	s.calls.New = func() any { return newServed(&s.calls) }
	s.grpc = grpc.NewServer(
		grpc.ForceServerCodecV2(rawCodec{&s.pool}),
		grpc.MaxRecvMsgSize(frameBytesMax),
		grpc.MaxSendMsgSize(frameBytesMax),
		grpc.InitialWindowSize(windowBytes),
		grpc.InitialConnWindowSize(windowBytes),
		grpc.WriteBufferSize(socketBytes),
		grpc.ReadBufferSize(socketBytes),
		grpc.MaxConcurrentStreams(streamsMax),
		grpc.ConnectionTimeout(cfg.HandshakeTime),
	)
	s.grpc.RegisterService(s.describe(), s)
	return s, nil
}

const (
	windowBytes = 8 << 20
	socketBytes = 64 << 10
	streamsMax  = 64
)

func (s *Server) describe() *grpc.ServiceDesc {
	return &grpc.ServiceDesc{
		ServiceName: serviceName,
		HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{
			MethodName: "Control",
			Handler: func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
				in := &frame{owned: true}
				if err := decode(in); err != nil {
					return nil, err
				}
				return s.control(ctx, in.in)
			},
		}},
		Streams: []grpc.StreamDesc{
			{StreamName: "Calls", ServerStreams: true, ClientStreams: true, Handler: func(_ any, st grpc.ServerStream) error { return s.serveCalls(st) }},
			{StreamName: "Feed", ServerStreams: true, ClientStreams: true, Handler: func(_ any, st grpc.ServerStream) error { return s.serveFeed(st) }},
		},
	}
}

// Serve accepts connections from l, which it closes, until Close.
func (s *Server) Serve(l net.Listener) error {
	err := s.grpc.Serve(l)
	if errors.Is(err, grpc.ErrServerStopped) {
		return nil
	}
	return err
}

// Close ends all streams and waits for their handlers.
func (s *Server) Close() { s.grpc.Stop() }

// admit checks who opens a stream.
func (s *Server) admit(ctx context.Context) error {
	md, _ := metadata.FromIncomingContext(ctx)
	one := func(key string) string {
		if v := md.Get(key); len(v) == 1 {
			return v[0]
		}
		return ""
	}
	own := s.deps.Identity.Cluster()
	if own == "" || one(headerCluster) != own {
		return status.Error(codes.FailedPrecondition, string(chat.WrongClust))
	}
	if one(headerTo) != string(s.deps.Identity.Self) {
		return status.Error(codes.FailedPrecondition, string(chat.Moved))
	}
	return nil
}

// serverStream is the server's end of one stream of calls.
type serverStream struct {
	outbox
	s     *Server
	ctx   context.Context // the stream's own, for the reads it carries
	open  atomic.Int64    // calls not answered yet
	reads chan struct{}   // tokens of running reads
	wg    sync.WaitGroup  // of them
}

func (s *Server) serveCalls(st grpc.ServerStream) error {
	if err := s.admit(st.Context()); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(st.Context())
	c := &serverStream{s: s, ctx: ctx, reads: make(chan struct{}, s.cfg.ReadsMax)}
	c.init(&s.pool, s.cfg.FramesMax, s.cfg.BytesMax)
	c.wg.Go(func() { c.run(func(f *frame) error { return st.SendMsg(f) }) })
	c.sayPong()
	var err error
	for err == nil {
		in := frame{owned: true}
		if err = st.RecvMsg(&in); err == nil {
			err = c.receive(in.in)
		}
	}
	cancel()
	c.close()
	c.wg.Wait()
	if errors.Is(err, errFrame) {
		s.deps.Logger.Warn("closed a stream of malformed frames", "err", err)
		return status.Error(codes.InvalidArgument, "malformed frame")
	}
	return nil
}

func (c *serverStream) receive(b []byte) error {
	if len(b) < 1 {
		return errFrame
	}
	c.received(b)
	for b = b[1:]; len(b) > 0; {
		it, rest, err := nextItem(b)
		if err != nil {
			return err
		}
		b = rest
		switch it.kind {
		case kindPropose:
			err = c.propose(it)
		case kindRead:
			err = c.read(it)
		case kindPing:
			c.sayPong()
		default:
			err = errFrame
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *serverStream) sayPong() {
	p := pong{epoch: c.s.deps.Identity.Epoch(), led: c.s.deps.Backend.Led(nil)}
	c.put(kindPong, 0, p.encode(), nil)
}

// begin books a call, or answers busy.
func (c *serverStream) begin(id uint64) bool {
	if c.open.Add(1) <= int64(c.s.cfg.CallsMax) {
		return true
	}
	c.finish(kindFail, id, appendFail(nil, errBusy("forward", "too many calls from one node")))
	return false
}

const busyRetry = 50 * time.Millisecond

func errBusy(op, msg string) error {
	e := chat.E(op, chat.Busy, msg, nil)
	e.RetryAfter = busyRetry
	return e
}

func (c *serverStream) propose(it item) error {
	g, cmd, err := cutUvarint(it.body, shard.GroupsMax)
	if err != nil || len(cmd) > fsm.CommandBytesMax {
		return errFrame
	}
	if !c.begin(it.id) {
		return nil
	}
	call := c.s.calls.Get().(*served)
	call.stream, call.id, call.group = c, it.id, shard.GroupID(g)
	c.s.deps.Backend.ServePropose(call.group, cmd, call.done)
	return nil
}

// served is a proposal of another node while it is here.
type served struct {
	stream *serverStream
	id     uint64
	group  shard.GroupID
	done   func(fsm.Result, error)
	buf    []byte
}

func newServed(pool *sync.Pool) *served {
	v := &served{}
	v.done = func(res fsm.Result, err error) {
		c, kind := v.stream, kindResult
		if err == nil {
			v.buf = res.Append(v.buf[:0])
		} else {
			kind = kindFail
			v.buf = appendFail(v.buf[:0], c.s.deps.Backend.Refused(v.group, err))
		}
		c.finish(kind, v.id, v.buf)
		v.stream = nil
		pool.Put(v)
	}
	return v
}

// finish answers a call that begin has booked. The other side takes answers more
// slowly than many large reads give them: what does not fit is told, so that nobody
// waits for it in vain.
func (c *serverStream) finish(kind byte, id uint64, body []byte) {
	c.open.Add(-1)
	c.mu.Lock()
	if kind != kindData {
		c.insistLocked(kind, id, nil, body)
	} else if !c.putLocked(kind, id, nil, body) {
		c.insistLocked(kindFail, id, nil, appendFail(nil, errBusy("read", "too many bytes wait for one node")))
	}
	c.unlock()
}

// read serves a read on a goroutine of its own: it may wait for a quorum.
func (c *serverStream) read(it item) error {
	g, b, err := cutUvarint(it.body, shard.GroupsMax)
	if err != nil {
		return err
	}
	ms, req, err := cutUvarint(b, uint64(time.Hour/time.Millisecond))
	if err != nil {
		return err
	}
	if !c.begin(it.id) {
		return nil
	}
	select {
	case c.reads <- struct{}{}:
	default:
		c.finish(kindFail, it.id, appendFail(nil, errBusy("read", "too many reads from one node")))
		return nil
	}
	c.wg.Go(func() {
		defer func() { <-c.reads }()
		ctx, cancel := context.WithTimeout(c.ctx, time.Duration(ms)*time.Millisecond)
		defer cancel()
		out := c.s.pool.Get(0)
		defer c.s.pool.Put(out)
		group := shard.GroupID(g)
		var err error
		*out, err = c.s.deps.Backend.ServeRead(ctx, group, req, *out)
		switch {
		case err != nil && ctx.Err() != nil:
			c.finish(kindFail, it.id, appendFail(nil, chat.E("read", chat.Timeout, "no answer in time", err)))
		case err != nil:
			c.finish(kindFail, it.id, appendFail(nil, c.s.deps.Backend.Refused(group, err)))
		case len(*out) > itemBytesMax:
			c.finish(kindFail, it.id, appendFail(nil, chat.E("read", chat.TooLarge, "the answer is too large", nil)))
		default:
			c.finish(kindData, it.id, *out)
		}
	})
	return nil
}
