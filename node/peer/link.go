package peer

import (
	"context"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/chatnode/chatnode/shard"
)

// link is the connections to one node at one address.
type link struct {
	node   shard.NodeID
	addr   string
	calls  *channel
	reads  *channel
	feed   *feedLink
	cancel context.CancelFunc
}

// open starts the connections; their goroutines end with close.
func (p *Pool) open(node shard.NodeID, addr string) (*link, error) {
	ctx, cancel := context.WithCancel(p.ctx)
	l := &link{node: node, addr: addr, cancel: cancel}
	var ccs [3]*grpc.ClientConn
	var wires [3]*wireHolder
	for i := range ccs {
		cc, wire, err := newConn(p.deps.Dial, addr, &p.pool, p.cfg.ReconnectMax)
		if err != nil {
			cancel()
			for _, cc := range ccs[:i] {
				cc.Close() //nolint:errcheck // it was never used
			}
			return nil, err
		}
		ccs[i], wires[i] = cc, wire
	}
	l.calls = &channel{p: p, node: node, cc: ccs[0], wire: wires[0], hears: true}
	l.reads = &channel{p: p, node: node, cc: ccs[1], wire: wires[1]}
	l.feed = newFeedLink(p, node, ccs[2], wires[2])
	p.wg.Go(func() { l.calls.run(ctx) })
	p.wg.Go(func() { l.reads.run(ctx) })
	p.wg.Go(func() { l.feed.run(ctx) })
	return l, nil
}

func (l *link) close() { l.cancel() }

// outgoing names the cluster and both nodes to the other side.
func (p *Pool) outgoing(ctx context.Context, to shard.NodeID) context.Context {
	return metadata.AppendToOutgoingContext(ctx,
		headerCluster, p.deps.Identity.Cluster(), headerTo, string(to), headerFrom, string(p.deps.Identity.Self))
}

// streamOf describes a stream of frames to gRPC.
func streamOf() *grpc.StreamDesc { return &grpc.StreamDesc{ServerStreams: true, ClientStreams: true} }

// channel keeps one stream of calls open.
type channel struct {
	p      *Pool
	node   shard.NodeID
	cc     *grpc.ClientConn
	wire   *wireHolder
	hears  bool // pongs of this stream are told
	cur    atomic.Pointer[session]
	broken atomic.Pointer[context.CancelFunc] // ends the present stream
}

func (c *channel) up() bool {
	s := c.cur.Load()
	return s != nil && s.up()
}

func (c *channel) tick(cfg *Config, now time.Time, nth uint64) {
	if s := c.cur.Load(); s != nil && s.tick(cfg, now, nth) {
		if cancel := c.broken.Load(); cancel != nil {
			(*cancel)()
			c.wire.snap()
		}
	}
}

// run opens the stream again and again until ctx ends.
func (c *channel) run(ctx context.Context) {
	defer c.cc.Close() //nolint:errcheck // a connection that is not used any more
	pause := pauseLeast
	for ctx.Err() == nil {
		if c.stream(ctx) {
			pause = pauseLeast
		}
		if !sleep(ctx, pause) {
			return
		}
		pause = min(2*pause, c.p.cfg.ReconnectMax)
	}
}

const pauseLeast = 10 * time.Millisecond

// stream serves one stream until it ends; it reports whether it ever worked.
func (c *channel) stream(ctx context.Context) (worked bool) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	st, err := c.cc.NewStream(c.p.outgoing(ctx, c.node), streamOf(), methodCalls)
	if err != nil {
		return false
	}
	var pong func(uint64, []shard.GroupID)
	if heard := c.p.deps.Heard; heard != nil && c.hears {
		pong = func(epoch uint64, led []shard.GroupID) { heard(c.node, epoch, led) }
	}
	s := newSession(&c.p.pool, c.p.cfg, c.node, pong)
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		s.run(func(f *frame) error { return st.SendMsg(f) })
	}()
	c.broken.Store(&cancel)
	c.cur.Store(s)
	err = receiveAll(st, s.receive)
	c.cur.Store(nil)
	s.failAll(true)
	cancel()
	<-sent
	if ctx.Err() == nil {
		c.p.deps.Logger.InfoContext(ctx, "stream to a node ended", "node", c.node, "err", err)
	}
	return s.ready.Load()
}

// receiveAll hands every frame to fn until either fails.
func receiveAll(st grpc.ClientStream, fn func([]byte) error) error {
	var in frame
	defer in.free()
	for {
		if err := st.RecvMsg(&in); err != nil {
			return err
		}
		err := fn(in.in)
		in.free()
		if err != nil {
			return err
		}
	}
}

// sleep waits; false means ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
