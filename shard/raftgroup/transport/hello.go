package transport

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/shard"
)

// FirstByte begins every connection of this package, for the owner of a port
// that other protocols share.
const FirstByte = 'R'

const (
	magic        = "Rcn1"
	helloTimeout = 5 * time.Second
	helloMax     = 1 << 10
)

// What a connection is for.
const (
	purposeMessages = 'm'
	purposeSnapshot = 's'
)

// hello opens a connection: magic ‖ purpose u8 ‖ boot u64 ‖ cluster ‖ from ‖ to,
// the last three each with a length u8.
type hello struct {
	purpose byte
	boot    uint64 // differs each time a process starts
	cluster string
	from    shard.NodeID
	to      shard.NodeID
}

func (h hello) encode() []byte {
	b := append([]byte(magic), h.purpose)
	b = binary.BigEndian.AppendUint64(b, h.boot)
	for _, s := range []string{h.cluster, string(h.from), string(h.to)} {
		b = append(b, byte(len(s)))
		b = append(b, s...)
	}
	return b
}

func readHello(r io.Reader) (hello, error) {
	var fixed [len(magic) + 1 + 8]byte
	if _, err := io.ReadFull(r, fixed[:]); err != nil {
		return hello{}, err
	}
	if string(fixed[:len(magic)]) != magic {
		return hello{}, fmt.Errorf("greeting: %w", errFrame)
	}
	h := hello{purpose: fixed[len(magic)], boot: binary.BigEndian.Uint64(fixed[len(magic)+1:])}
	var parts [3]string
	for i := range parts {
		var err error
		if parts[i], err = readShort(r); err != nil {
			return hello{}, err
		}
	}
	h.cluster, h.from, h.to = parts[0], shard.NodeID(parts[1]), shard.NodeID(parts[2])
	if !shard.ValidCluster(h.cluster) || !shard.ValidNodeID(h.from) || !shard.ValidNodeID(h.to) {
		return hello{}, fmt.Errorf("greeting names: %w", errFrame)
	}
	return h, nil
}

func readShort(r io.Reader) (string, error) {
	var n [1]byte
	if _, err := io.ReadFull(r, n[:]); err != nil {
		return "", err
	}
	b := make([]byte, n[0])
	_, err := io.ReadFull(r, b)
	return string(b), err
}

// The answer to a hello: code ‖ boot u64 ‖ text, code and text with a length u8.
func appendWelcome(code chat.Code, boot uint64, msg string) []byte {
	b := append([]byte{byte(len(code))}, code...)
	b = binary.BigEndian.AppendUint64(b, boot)
	msg = msg[:min(len(msg), 255)]
	b = append(b, byte(len(msg)))
	return append(b, msg...)
}

func readWelcome(r io.Reader) (boot uint64, err error) {
	code, err := readShort(r)
	if err != nil {
		return 0, err
	}
	var b [8]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return 0, err
	}
	msg, err := readShort(r)
	if err != nil {
		return 0, err
	}
	if code != string(chat.OK) {
		return 0, chat.E("connect to peer", chat.Code(code), msg, nil)
	}
	return binary.BigEndian.Uint64(b[:]), nil
}

// greet is the dialing side of the handshake. The end of ctx ends the connection:
// the other side may be paused, and who stops does not wait for it.
func (h *Hub) greet(ctx context.Context, conn net.Conn, to shard.NodeID, purpose byte) (boot uint64, err error) {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	if err := conn.SetDeadline(time.Now().Add(helloTimeout)); err != nil {
		return 0, err
	}
	if h.cfg.VerifyPeer != nil {
		if err := h.cfg.VerifyPeer(to, conn); err != nil {
			return 0, chat.E("connect to peer", chat.Unauthenticated, "the certificate is not that of node "+string(to), err)
		}
	}
	m := hello{purpose: purpose, boot: h.boot, cluster: h.cfg.Cluster, from: h.cfg.NodeID, to: to}
	if _, err := conn.Write(m.encode()); err != nil {
		return 0, err
	}
	if boot, err = readWelcome(io.LimitReader(conn, helloMax)); err != nil {
		return 0, err
	}
	return boot, conn.SetDeadline(time.Time{})
}

// welcome is the accepting side. On a refusal the reason was sent.
func (h *Hub) welcome(conn net.Conn, r *bufio.Reader) (hello, error) {
	if err := conn.SetDeadline(time.Now().Add(helloTimeout)); err != nil {
		return hello{}, err
	}
	m, err := readHello(r)
	if err != nil {
		return hello{}, err
	}
	if err := h.refusal(m, conn); err != nil {
		_, werr := conn.Write(appendWelcome(err.Code, 0, err.Msg))
		if werr == nil {
			_ = conn.SetDeadline(time.Now()) // the reason was sent; nothing more is expected
		}
		return hello{}, err
	}
	if _, err := conn.Write(appendWelcome(chat.OK, h.boot, "")); err != nil {
		return hello{}, err
	}
	return m, conn.SetDeadline(time.Time{})
}

func (h *Hub) refusal(m hello, conn net.Conn) *chat.Error {
	const op = "accept peer"
	switch {
	case m.cluster != h.cfg.Cluster:
		return chat.E(op, chat.WrongClust, fmt.Sprintf("this node belongs to cluster %s, not to %s", h.cfg.Cluster, m.cluster), nil)
	case m.to != h.cfg.NodeID:
		return chat.E(op, chat.Invalid, fmt.Sprintf("this is node %s, not %s", h.cfg.NodeID, m.to), nil)
	case m.from == h.cfg.NodeID:
		return chat.E(op, chat.Invalid, "the node has the id of this one", nil)
	case m.purpose != purposeMessages && m.purpose != purposeSnapshot:
		return chat.E(op, chat.UnsupportedVer, "unknown purpose of a connection", nil)
	}
	if h.cfg.VerifyPeer != nil {
		if err := h.cfg.VerifyPeer(m.from, conn); err != nil {
			return chat.E(op, chat.Unauthenticated, "the certificate is not that of node "+string(m.from), err)
		}
	}
	return nil
}
