package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// etcd is a cluster of three etcd members: a message is a key "c/NUMBER".
type etcd struct {
	binary    string
	members   []*process
	endpoints []string
	clients   []*clientv3.Client
	next      atomic.Uint64
}

const etcdClients = 16

func (e *etcd) procs() []*process { return e.members }

func (e *etcd) start(ctx context.Context, dir string) error {
	ports, err := freePorts(2 * nodes)
	if err != nil {
		return err
	}
	var initial []string
	for i := range nodes {
		initial = append(initial, fmt.Sprintf("n%d=http://127.0.0.1:%d", i, ports[nodes+i]))
	}
	for i := range nodes {
		client := fmt.Sprintf("http://127.0.0.1:%d", ports[i])
		peer := fmt.Sprintf("http://127.0.0.1:%d", ports[nodes+i])
		e.endpoints = append(e.endpoints, client)
		name := fmt.Sprintf("n%d", i)
		p := &process{name: name, log: filepath.Join(dir, name+".log"), args: []string{
			"--name", name, "--data-dir", filepath.Join(dir, name),
			"--listen-client-urls", client, "--advertise-client-urls", client,
			"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
			"--initial-cluster", strings.Join(initial, ","), "--log-level", "error",
			"--quota-backend-bytes", "8589934592",
		}}
		if err := p.start(e.binary); err != nil {
			return err
		}
		e.members = append(e.members, p)
	}
	for i := range etcdClients {
		// Each client begins at another member, as a fleet of clients would.
		eps := append(append([]string{}, e.endpoints[i%nodes:]...), e.endpoints[:i%nodes]...)
		c, err := clientv3.New(clientv3.Config{Endpoints: eps, DialTimeout: 5 * time.Second, Logger: zap.NewNop()})
		if err != nil {
			return err
		}
		e.clients = append(e.clients, c)
	}
	deadline := time.Now().Add(30 * time.Second)
	for {
		actx, cancel := context.WithTimeout(ctx, time.Second)
		err := e.append(actx, []byte("ready"))
		cancel()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			return fmt.Errorf("not ready: %w", err)
		}
	}
}

func (e *etcd) stop() {
	for _, c := range e.clients {
		_ = c.Close()
	}
	for _, p := range e.members {
		p.kill()
	}
}

func (e *etcd) put(ctx context.Context, c *clientv3.Client, body []byte) error {
	_, err := c.Put(ctx, fmt.Sprintf("c/%016d", e.next.Add(1)), string(body))
	return err
}

func (e *etcd) append(ctx context.Context, body []byte) error {
	return e.put(ctx, e.clients[e.next.Load()%etcdClients], body)
}

func (e *etcd) appendLoop(ctx context.Context, n int, body []byte, done func(time.Duration, error)) error {
	var wg sync.WaitGroup
	for w := range n {
		c := e.clients[w%etcdClients]
		wg.Go(func() {
			for ctx.Err() == nil {
				at := time.Now()
				err := e.put(ctx, c, body)
				if ctx.Err() == nil {
					done(time.Since(at), err)
				}
			}
		})
	}
	wg.Wait()
	return nil
}

// page names both ends: with an open end and a limit etcd counts all keys up to
// the end.
func (e *etcd) page(ctx context.Context, worker int, pos uint64) (int, error) {
	r, err := e.clients[worker%etcdClients].Get(ctx, fmt.Sprintf("c/%016d", pos), clientv3.WithRange(fmt.Sprintf("c/%016d", pos+pageMessages)))
	if err != nil {
		return 0, err
	}
	return len(r.Kvs), nil
}

func (e *etcd) watch(ctx context.Context, got func([]byte)) error {
	lead, err := e.leader(ctx)
	if err != nil {
		return err
	}
	c, err := clientv3.New(clientv3.Config{Endpoints: e.endpoints[(lead+1)%nodes : (lead+1)%nodes+1], Logger: zap.NewNop()})
	if err != nil {
		return err
	}
	ch := c.Watch(clientv3.WithRequireLeader(ctx), "c/", clientv3.WithPrefix(), clientv3.WithCreatedNotify())
	if first := <-ch; first.Err() != nil {
		return first.Err()
	}
	go func() {
		defer c.Close()
		for r := range ch {
			for _, ev := range r.Events {
				got(ev.Kv.Value)
			}
		}
	}()
	return nil
}

func (e *etcd) leader(ctx context.Context) (int, error) {
	for i, ep := range e.endpoints {
		st, err := e.clients[0].Status(ctx, ep)
		if err == nil && st.Header.MemberId == st.Leader {
			return i, nil
		}
	}
	return 0, fmt.Errorf("no member leads")
}

func (e *etcd) restart(i int) error { return e.members[i].start(e.binary) }
