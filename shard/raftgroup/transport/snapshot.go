package transport

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/hashicorp/raft"

	"github.com/chatnode/chatnode/shard"
)

const (
	snapshotIdle     = 15 * time.Second // a stream that stands still this long is over
	snapshotTick     = time.Second      // a receiver that is busy says so this often
	snapshotChunk    = 256 << 10
	snapshotHeadMax  = 64 << 10
	snapshotBytesMax = 1 << 44
)

// What a receiver says while the sender waits.
const (
	signBusy   = 'w'
	signGo     = 'g'
	signResult = 'r'
)

// snapshotHead opens a stream: length u32 ‖ group u32 ‖ version u32 ‖ term u64 ‖
// index u64 ‖ index term u64 ‖ size u64 ‖ configuration index u64 ‖ configuration.
func encodeSnapshotHead(g shard.GroupID, m *raft.InstallSnapshotRequest) []byte {
	be := binary.BigEndian
	b := be.AppendUint32(make([]byte, 4, 128), uint32(g))
	b = be.AppendUint32(b, uint32(m.SnapshotVersion))
	for _, v := range []uint64{m.Term, m.LastLogIndex, m.LastLogTerm, uint64(m.Size), m.ConfigurationIndex} {
		b = be.AppendUint64(b, v)
	}
	b = append(b, m.Configuration...)
	be.PutUint32(b, uint32(len(b)-4))
	return b
}

func readSnapshotHead(r io.Reader, from shard.NodeID) (shard.GroupID, *raft.InstallSnapshotRequest, error) {
	var n [4]byte
	if _, err := io.ReadFull(r, n[:]); err != nil {
		return 0, nil, err
	}
	size := binary.BigEndian.Uint32(n[:])
	if size > snapshotHeadMax {
		return 0, nil, fmt.Errorf("snapshot head of %d bytes: %w", size, errFrame)
	}
	b := make([]byte, size)
	if _, err := io.ReadFull(r, b); err != nil {
		return 0, nil, err
	}
	return decodeSnapshotHead(b, from)
}

func decodeSnapshotHead(b []byte, from shard.NodeID) (shard.GroupID, *raft.InstallSnapshotRequest, error) {
	c := cursor{b: b}
	g := shard.GroupID(c.u32())
	m := &raft.InstallSnapshotRequest{RPCHeader: header(from)}
	m.Leader = m.Addr
	m.SnapshotVersion = raft.SnapshotVersion(c.u32())
	m.Term, m.LastLogIndex, m.LastLogTerm = c.u64(), c.u64(), c.u64()
	size := c.u64()
	m.ConfigurationIndex = c.u64()
	m.Configuration = c.take(len(c.b))
	if c.bad || size > snapshotBytesMax || m.SnapshotVersion != 1 || !validConfiguration(m.Configuration) {
		return 0, nil, fmt.Errorf("snapshot head: %w", errFrame)
	}
	m.Size = int64(size)
	return g, m, nil
}

// InstallSnapshot implements raft.Transport on a connection of its own.
func (g *Group) InstallSnapshot(id raft.ServerID, _ raft.ServerAddress, m *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	to := shard.NodeID(id)
	p, err := g.hub.peer(to)
	if err != nil {
		return err
	}
	for err := g.await(p, wantedEvery); err != nil; err = g.await(p, wantedEvery) {
		if !errors.Is(err, errUnreachable) || !g.opts.Wanted(to) {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(g.ctx, dialTimeout)
	defer cancel()
	conn, err := g.hub.cfg.Dial(ctx, g.hub.cfg.Address(to))
	if err != nil {
		return err
	}
	defer conn.Close() // the stream is over either way
	stop := context.AfterFunc(g.ctx, func() { _ = conn.Close() })
	defer stop()
	if _, err := g.hub.greet(g.ctx, conn, to, purposeSnapshot); err != nil {
		return err
	}
	if _, err := conn.Write(encodeSnapshotHead(g.id, m)); err != nil {
		return err
	}
	if err := awaitSign(conn, signGo); err != nil {
		return fmt.Errorf("snapshot refused: %w", err)
	}
	if err := g.stream(conn, data, m.Size); err != nil {
		return err
	}
	if err := awaitSign(conn, signResult); err != nil {
		return fmt.Errorf("snapshot not installed: %w", err)
	}
	var b [9]byte
	if _, err := io.ReadFull(conn, b[:]); err != nil {
		return err
	}
	*resp = raft.InstallSnapshotResponse{RPCHeader: header(to), Term: binary.BigEndian.Uint64(b[:]), Success: b[8] != 0}
	return nil
}

// awaitSign waits while the receiver says that it is busy.
func awaitSign(conn net.Conn, want byte) error {
	var b [1]byte
	for {
		if err := conn.SetReadDeadline(time.Now().Add(snapshotIdle)); err != nil {
			return err
		}
		if _, err := io.ReadFull(conn, b[:]); err != nil {
			return err
		}
		switch b[0] {
		case want:
			return nil
		case signBusy:
		default:
			return errFrame
		}
	}
}

// stream sends exactly size bytes at the bounded rate.
func (g *Group) stream(conn net.Conn, data io.Reader, size int64) error {
	buf := make([]byte, snapshotChunk)
	start := time.Now()
	for sent := int64(0); sent < size; {
		n, err := data.Read(buf[:min(int64(len(buf)), size-sent)])
		if n > 0 {
			if err := conn.SetWriteDeadline(time.Now().Add(snapshotIdle)); err != nil {
				return err
			}
			if _, err := conn.Write(buf[:n]); err != nil {
				return err
			}
			g.hub.stats.bytes.Add(uint64(n))
			sent += int64(n)
		}
		if err != nil && sent < size {
			return fmt.Errorf("snapshot ends after %d of %d bytes: %w", sent, size, err)
		}
		if err := g.pace(start, sent); err != nil {
			return err
		}
	}
	return nil
}

func (g *Group) pace(start time.Time, sent int64) error {
	rate := g.hub.cfg.InstallBytesPerSec
	if rate <= 0 {
		return nil
	}
	ahead := time.Duration(float64(sent)/float64(rate)*float64(time.Second)) - time.Since(start)
	if ahead < time.Millisecond {
		return nil
	}
	t := time.NewTimer(ahead)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-g.ctx.Done():
		return errGroupClosed
	}
}

// serveSnapshot receives one snapshot.
func (h *Hub) serveSnapshot(conn net.Conn, r *bufio.Reader, from shard.NodeID) {
	if err := conn.SetReadDeadline(time.Now().Add(snapshotIdle)); err != nil {
		return
	}
	id, m, err := readSnapshotHead(r, from)
	if err != nil {
		h.log.Warn("bad snapshot from a peer", "peer", string(from), "err", err)
		return
	}
	g := h.group(id)
	if g == nil {
		return
	}
	quit := make(chan struct{})
	ticks := make(chan struct{})
	go func() { // tells the sender to wait, while anything takes its time
		defer close(ticks)
		tellBusy(conn, quit)
	}()
	defer func() { <-ticks }()
	resp, err := g.receive(conn, r, m, quit)
	if err != nil {
		h.log.Warn("snapshot was not installed", "group", uint32(id), "peer", string(from), "index", m.LastLogIndex, "err", err)
		return
	}
	<-ticks
	out := binary.BigEndian.AppendUint64([]byte{signResult}, resp.Term)
	out = append(out, flag(resp.Success, 1))
	_ = conn.SetWriteDeadline(time.Now().Add(snapshotIdle)) // a dead connection fails in the write
	_, _ = conn.Write(out)                                  // the sender sends again when it has not heard
}

func tellBusy(conn net.Conn, quit <-chan struct{}) {
	t := time.NewTicker(snapshotTick)
	defer t.Stop()
	for {
		select {
		case <-quit:
			return
		case <-t.C:
			_ = conn.SetWriteDeadline(time.Now().Add(snapshotIdle)) // as below
			if _, err := conn.Write([]byte{signBusy}); err != nil {
				<-quit
				return
			}
		}
	}
}

// receive waits for its turn, takes the stream and closes quit.
func (g *Group) receive(conn net.Conn, r io.Reader, m *raft.InstallSnapshotRequest, quit chan struct{}) (*raft.InstallSnapshotResponse, error) {
	defer close(quit)
	select {
	case g.hub.places <- struct{}{}:
		defer func() { <-g.hub.places }()
	case <-g.ctx.Done():
		return nil, errGroupClosed
	}
	stop := context.AfterFunc(g.ctx, func() { _ = conn.Close() })
	defer stop()
	if _, err := conn.Write([]byte{signGo}); err != nil {
		return nil, err
	}
	data := io.LimitReader(&impatient{conn: conn, r: r}, m.Size)
	return g.opts.Install(g.ctx, m, data, func(data io.Reader) (*raft.InstallSnapshotResponse, error) {
		return g.install(m, data)
	})
}

// install hands a snapshot to Raft and waits.
func (g *Group) install(m *raft.InstallSnapshotRequest, data io.Reader) (*raft.InstallSnapshotResponse, error) {
	answer := make(chan raft.RPCResponse, 1)
	select {
	case g.rpcs <- raft.RPC{Command: m, Reader: data, RespChan: answer}:
	case <-g.ctx.Done():
		return nil, errGroupClosed
	}
	select {
	case r := <-answer:
		resp, ok := r.Response.(*raft.InstallSnapshotResponse)
		if r.Error != nil || !ok {
			return nil, fmt.Errorf("install: %w", r.Error)
		}
		return resp, nil
	case <-g.ctx.Done():
		return nil, errGroupClosed
	}
}

// impatient ends a stream that stands still.
type impatient struct {
	conn net.Conn
	r    io.Reader
}

func (i *impatient) Read(p []byte) (int, error) {
	if err := i.conn.SetReadDeadline(time.Now().Add(snapshotIdle)); err != nil {
		return 0, err
	}
	return i.r.Read(p)
}
