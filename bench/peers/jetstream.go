package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	js "github.com/nats-io/nats.go/jetstream"
)

// jetstream is a cluster of three nats-servers with streams of three replicas
// on disk. Each stream is a Raft group and has one subject.
type jetstream struct {
	binary, sync string
	streams      int // appends take turns; what reads uses the first
	servers      []*process
	urls         []string
	conns        []*nats.Conn
	contexts     []js.JetStream
	subjects     []string // of the streams
	next         atomic.Uint64
}

const (
	natsConns    = 32
	ackTimeout   = 10 * time.Second
	pendingSlack = 16
)

// stream is the first one, which alone is read.
const stream = "CHAT1"

func streamName(i int) string { return fmt.Sprintf("CHAT%d", i+1) }

func subjectOf(i int) string { return fmt.Sprintf("chat.%d", i+1) }

// nextSubject takes the streams in turn.
func (j *jetstream) nextSubject() string { return j.subjects[j.next.Add(1)%uint64(j.streams)] }

func (j *jetstream) procs() []*process { return j.servers }

func (j *jetstream) start(ctx context.Context, dir string) error {
	ports, err := freePorts(2 * nodes)
	if err != nil {
		return err
	}
	var routes []string
	for i := range nodes {
		routes = append(routes, fmt.Sprintf("nats://127.0.0.1:%d", ports[nodes+i]))
	}
	for i := range nodes {
		name := fmt.Sprintf("n%d", i)
		sync := ""
		if j.sync == "always" {
			sync = "sync_interval: always"
		}
		conf := fmt.Sprintf(`server_name: %s
listen: "127.0.0.1:%d"
jetstream { store_dir: %q
%s }
cluster { name: bench, listen: "127.0.0.1:%d", routes: [%s] }
`, name, ports[i], filepath.Join(dir, name), sync, ports[nodes+i], strings.Join(routes, ", "))
		file := filepath.Join(dir, name+".conf")
		if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
			return err
		}
		p := &process{name: name, log: filepath.Join(dir, name+".log"), args: []string{"-c", file}}
		if err := p.start(j.binary); err != nil {
			return err
		}
		j.servers = append(j.servers, p)
		j.urls = append(j.urls, fmt.Sprintf("nats://127.0.0.1:%d", ports[i]))
	}
	return j.connect(ctx)
}

func (j *jetstream) connect(ctx context.Context) error {
	deadline := time.Now().Add(30 * time.Second)
	for {
		err := j.create(ctx)
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			return fmt.Errorf("not ready: %w", err)
		}
		if err := wait(ctx, 200*time.Millisecond); err != nil {
			return err
		}
	}
}

func (j *jetstream) dial(first int) (*nats.Conn, error) {
	urls := append(append([]string{}, j.urls[first:]...), j.urls[:first]...)
	return nats.Connect(strings.Join(urls, ","), nats.DontRandomize(), nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond))
}

func (j *jetstream) create(ctx context.Context) error {
	for len(j.conns) < natsConns {
		c, err := j.dial(len(j.conns) % nodes)
		if err != nil {
			return err
		}
		x, err := js.New(c, js.WithPublishAsyncMaxPending(outstandingMax+pendingSlack), js.WithPublishAsyncTimeout(ackTimeout))
		if err != nil {
			return err
		}
		j.conns, j.contexts = append(j.conns, c), append(j.contexts, x)
	}
	j.subjects = j.subjects[:0]
	for i := range j.streams {
		if err := j.createStream(ctx, i); err != nil {
			return err
		}
		j.subjects = append(j.subjects, subjectOf(i))
	}
	return nil
}

func (j *jetstream) createStream(ctx context.Context, i int) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	_, err := j.contexts[0].CreateOrUpdateStream(ctx, js.StreamConfig{
		Name: streamName(i), Subjects: []string{subjectOf(i)}, Storage: js.FileStorage, Replicas: nodes, AllowDirect: true,
	})
	return err
}

func (j *jetstream) stop() {
	for _, c := range j.conns {
		c.Close()
	}
	for _, p := range j.servers {
		p.kill()
	}
}

func (j *jetstream) append(ctx context.Context, body []byte) error {
	_, err := j.contexts[j.next.Load()%natsConns].Publish(ctx, j.nextSubject(), body)
	return err
}

// own are the subjects of connection c of so many. A stream answers in order, so that
// a connection of one stream need only wait for its oldest publish; over several,
// the slowest would hold up what the others could take.
func (j *jetstream) own(c, conns int) (subjects []string) {
	for i := c % j.streams; i < j.streams; i += conns {
		subjects = append(subjects, j.subjects[i])
	}
	return subjects
}

// appendLoop spreads n publishes in flight over the connections, and these over the
// streams.
func (j *jetstream) appendLoop(ctx context.Context, n int, body []byte, done func(time.Duration, error)) error {
	var wg sync.WaitGroup
	conns := min(n, natsConns)
	for c := range conns {
		window := n / conns
		if c < n%conns {
			window++
		}
		wg.Go(func() { j.pipeline(ctx, j.contexts[c], j.own(c, conns), window, body, done) })
	}
	wg.Wait()
	return nil
}

func (j *jetstream) pipeline(ctx context.Context, x js.JetStream, subjects []string, window int, body []byte, done func(time.Duration, error)) {
	type sent struct {
		at time.Time
		f  js.PubAckFuture
	}
	queue := make([]sent, 0, window)
	for next := 0; ctx.Err() == nil; {
		for ; len(queue) < window; next++ {
			at := time.Now()
			f, err := x.PublishAsync(subjects[next%len(subjects)], body)
			if err != nil {
				done(0, err)
				return
			}
			queue = append(queue, sent{at, f})
		}
		var err error
		select {
		case <-queue[0].f.Ok():
		case err = <-queue[0].f.Err():
		case <-ctx.Done():
			return
		}
		done(time.Since(queue[0].at), err)
		queue = append(queue[:0], queue[1:]...)
	}
}

// page reads messages from a sequence number on by a direct get in batch: from
// any replica and without a consumer, which costs more. It may be stale.
func (j *jetstream) page(ctx context.Context, worker int, pos uint64) (int, error) {
	c := j.conns[worker%natsConns]
	inbox := c.NewInbox()
	sub, err := c.SubscribeSync(inbox)
	if err != nil {
		return 0, err
	}
	defer sub.Unsubscribe() //nolint:errcheck // the connection ends with the measurement
	ask := fmt.Sprintf(`{"seq":%d,"batch":%d}`, pos, pageMessages)
	if err := c.PublishRequest("$JS.API.DIRECT.GET."+stream, inbox, []byte(ask)); err != nil {
		return 0, err
	}
	for n := 0; ; n++ {
		m, err := sub.NextMsgWithContext(ctx)
		if err != nil {
			return n, err
		}
		switch status := m.Header.Get("Status"); status {
		case "":
		case "204": // end of batch
			return n, nil
		default:
			return n, fmt.Errorf("direct get: %s %s", status, m.Header.Get("Description"))
		}
	}
}

func (j *jetstream) watch(ctx context.Context, got func([]byte)) error {
	lead, err := j.leader(ctx)
	if err != nil {
		return err
	}
	c, err := j.dial((lead + 1) % nodes)
	if err != nil {
		return err
	}
	x, err := js.New(c)
	if err != nil {
		return err
	}
	cons, err := x.OrderedConsumer(ctx, stream, js.OrderedConsumerConfig{DeliverPolicy: js.DeliverNewPolicy})
	if err != nil {
		return err
	}
	cc, err := cons.Consume(func(m js.Msg) { got(m.Data()) })
	if err != nil {
		return err
	}
	go func() {
		<-ctx.Done()
		cc.Stop()
		c.Close()
	}()
	return nil
}

func (j *jetstream) leader(ctx context.Context) (int, error) {
	s, err := j.contexts[0].Stream(ctx, stream)
	if err != nil {
		return 0, err
	}
	info, err := s.Info(ctx)
	if err != nil {
		return 0, err
	}
	for i, p := range j.servers {
		if info.Cluster != nil && info.Cluster.Leader == p.name {
			return i, nil
		}
	}
	return 0, errors.New("the stream has no leader")
}

func (j *jetstream) restart(i int) error { return j.servers[i].start(j.binary) }
