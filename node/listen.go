package node

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/chatnode/chatnode/node/peer"
)

// ports are the bound listeners of a node, before TLS.
type ports struct {
	client, peer, debug net.Listener
}

// bind takes every port before anything is written, so that a busy one costs
// nothing.
func bind(ctx context.Context, l Listen) (*ports, error) {
	p := &ports{}
	var err error
	if p.client, err = listen(ctx, "listen.client", l.Client); err != nil {
		return nil, err
	}
	if p.peer, err = listen(ctx, "listen.peer", l.Peer); err != nil {
		return nil, errors.Join(err, p.close())
	}
	if l.Debug != "" {
		if p.debug, err = listen(ctx, "listen.debug", l.Debug); err != nil {
			return nil, errors.Join(err, p.close())
		}
	}
	return p, nil
}

func listen(ctx context.Context, key, addr string) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%s: %s is in use by another process: stop that one, or give this node another port", key, addr)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	return l, nil
}

func (p *ports) close() error {
	var errs []error
	for _, l := range []net.Listener{p.client, p.peer, p.debug} {
		if l == nil {
			continue
		}
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Addresses are where the node is reached.
type Addresses struct {
	Client, Peer, Debug string // HOST:PORT, as others should dial it
	TLS                 bool   // on the client port
}

// ClientURL is the base of the HTTP API.
func (a Addresses) ClientURL() string {
	if a.TLS {
		return "https://" + a.Client
	}
	return "http://" + a.Client
}

// SocketURL is the base of the WebSocket API.
func (a Addresses) SocketURL() string {
	if a.TLS {
		return "wss://" + a.Client
	}
	return "ws://" + a.Client
}

func (p *ports) addresses(c Config) Addresses {
	a := Addresses{Client: p.client.Addr().String(), Peer: p.peer.Addr().String(), TLS: c.TLS.ClientCert != ""}
	if p.debug != nil {
		a.Debug = p.debug.Addr().String()
	}
	if c.Advertise.Client != "" {
		a.Client = c.Advertise.Client
	}
	if c.Advertise.Peer != "" {
		a.Peer = c.Advertise.Peer
	}
	return a
}

// clientTLS gives the configuration of the client port, nil without TLS.
func (t TLS) clientTLS() (*tls.Config, error) {
	if t.ClientCert == "" {
		return nil, nil
	}
	cert, err := tls.LoadX509KeyPair(t.ClientCert, t.ClientKey)
	if err != nil {
		return nil, fmt.Errorf("tls.client_cert: %w", err)
	}
	return &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}, nil
}

// peerTLS gives the configuration for both ends of peer connections, nil
// without TLS. Each end shows a certificate that the CA signed.
func (t TLS) peerTLS() (*tls.Config, error) {
	if t.PeerCert == "" {
		return nil, nil
	}
	cert, err := tls.LoadX509KeyPair(t.PeerCert, t.PeerKey)
	if err != nil {
		return nil, fmt.Errorf("tls.peer_cert: %w", err)
	}
	pem, err := os.ReadFile(t.PeerCA)
	if err != nil {
		return nil, fmt.Errorf("tls.peer_ca: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("tls.peer_ca: %s holds no certificate", t.PeerCA)
	}
	return &tls.Config{
		Certificates: []tls.Certificate{cert},
		RootCAs:      pool,
		ClientCAs:    pool,
		ClientAuth:   tls.RequireAndVerifyClientCert,
		MinVersion:   tls.VersionTLS13,
	}, nil
}

// dialer dials other nodes' peer ports for one protocol.
func dialer(conf *tls.Config, protocol string) peer.Dialer {
	if conf == nil {
		plain := net.Dialer{Timeout: dialTimeout}
		return func(ctx context.Context, addr string) (net.Conn, error) { return plain.DialContext(ctx, "tcp", addr) }
	}
	return peer.TLSDialer(conf, protocol)
}

// dialTimeout bounds a connection attempt to another node.
const dialTimeout = 3 * time.Second
