package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/chatnode/chatnode/bench/target"
	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/client"
)

// Run is what every workload needs.
type Run struct {
	Target   *target.Target
	Sink     Sink
	Progress Progress
	Seed     uint64
	User     string // under whose name the load is made; "" means bench

	once    sync.Once
	version string
}

// Progress is told what a person may want to see meanwhile. It must not block.
type Progress func(format string, args ...any)

func (r *Run) say(format string, args ...any) {
	if r.Progress != nil {
		r.Progress(format, args...)
	}
}

func (r *Run) user() string {
	if r.User == "" {
		return "bench"
	}
	return r.User
}

// systemVersion asks a node, once, which version it is.
func (r *Run) systemVersion(ctx context.Context) string {
	r.once.Do(func() {
		s, err := r.Target.Status(ctx, r.Target.Nodes[0])
		if err == nil && len(s.Nodes) > 0 {
			r.version = s.Nodes[0].Version
		}
	})
	return r.version
}

// result starts a result of a workload.
func (r *Run) result(ctx context.Context, workload, label string, cfg map[string]any) Result {
	cfg["nodes"] = len(r.Target.Nodes)
	return Result{
		Workload: workload, System: "chatnode", Label: label, Time: time.Now().UTC(), Seed: r.Seed,
		Config: cfg, Machine: ThisMachine(),
		Versions: Versions{Load: LoadVersion(), System: r.systemVersion(ctx), Go: goVersion()},
		Latency:  make(map[string]Latency), Values: make(map[string]float64),
	}
}

// elections begins to count the elections of a window; the function that it gives
// writes their number down. A target that does not tell has none in its result.
func (r *Run) elections(ctx context.Context) func(*Result) {
	before, failed := r.Target.Terms(ctx)
	return func(res *Result) {
		if after, err := r.Target.Terms(ctx); err == nil && failed == nil {
			res.Values["elections"] = float64(after) - float64(before)
		}
	}
}

// use fills in what was used during the window.
func (res *Result) use(u target.Usage) {
	res.Resources = Resources{
		NodeCPUSeconds: u.CPU.Seconds(), LoadCPUSeconds: u.OwnCPU.Seconds(),
		DiskBytes: u.DiskBytes, NodeRSSBytes: u.RSS,
	}
	if res.Seconds > 0 {
		res.Resources.StolenShare = u.Stolen.Seconds() / res.Seconds / float64(runtime.NumCPU())
	}
	if res.Count > 0 {
		n := float64(res.Count)
		res.Resources.NodeCPUPerOpUS = u.CPU.Seconds() * 1e6 / n
		res.Resources.LoadCPUPerOpUS = u.OwnCPU.Seconds() * 1e6 / n
		res.Resources.DiskBytesPerOp = float64(u.DiskBytes) / n
		res.Resources.StoredBytesPerOp = float64(u.Stored) / n
	}
}

// dial opens n connections, spread evenly over the nodes, each with its own
// device.
func (r *Run) dial(ctx context.Context, n int, adjust func(i int, cfg *client.Config)) ([]*client.Client, error) {
	clients := make([]*client.Client, 0, n)
	for i := range n {
		c, err := r.dialOne(ctx, i, adjust)
		if err != nil {
			closeAll(clients)
			return nil, fmt.Errorf("connection %d: %w", i, err)
		}
		clients = append(clients, c)
	}
	return clients, nil
}

// dialOne opens connection i: to one node, and to no other when it is lost.
func (r *Run) dialOne(ctx context.Context, i int, adjust func(i int, cfg *client.Config)) (*client.Client, error) {
	cfg := client.DefaultConfig()
	cfg.Agent, cfg.NetDial = "chatbench", r.Target.NetDial()
	if adjust != nil {
		adjust(i, &cfg)
	}
	urls := r.Target.URLs()
	return client.Dial(ctx, []string{urls[i%len(urls)]}, r.Target.Tokens(r.user()), cfg)
}

func closeAll(clients []*client.Client) {
	var wg sync.WaitGroup
	for _, c := range clients {
		wg.Go(func() { _ = c.Close() })
	}
	wg.Wait()
}

// createAtOnce is how many conversations are created at a time.
const createAtOnce = 32

// conversations creates n conversations and gives their ids.
func (r *Run) conversations(ctx context.Context, c *client.Client, n int) ([]chat.ConvID, error) {
	prefix := fmt.Sprintf("b%08x", rand.Uint32())
	ids := make([]chat.ConvID, n)
	errs := make(chan error, n)
	slots := make(chan struct{}, createAtOnce)
	for i := range ids {
		ids[i] = chat.ConvID(fmt.Sprintf("%s-%d", prefix, i))
		slots <- struct{}{}
		go func() {
			defer func() { <-slots }()
			_, err := c.Create(ctx, client.Conversation{Conv: ids[i], Title: "bench", Policy: chat.AllHistory})
			errs <- err
		}()
	}
	for range n {
		if err := <-errs; err != nil {
			return nil, fmt.Errorf("create: %w", err)
		}
	}
	return ids, nil
}

// A run draws its messages from as many texts as textsBytes hold, within
// textsMin and textsMax: with few of them a store that compresses would find the
// same ones again in a block, and its size on disk would say nothing; with very
// many, the load would wait for memory.
const (
	textsBytes = 256 << 10
	textsMin   = 32
	textsMax   = 1024
)

// textsKept is the number of texts of n bytes.
func textsKept(n int) int { return min(max(textsBytes/n, textsMin), textsMax) }

// textBytes is how many bytes a message of about n bytes has: at most as many as
// the limit of characters allows.
func textBytes(n int) int { return min(n, 4*chat.TextRunesMax) }

// texts gives messages of textBytes(n) bytes. Those with more bytes than the
// limit of characters have as many four-byte characters as they need.
func texts(rnd *rand.Rand, n int) []string {
	const letters = "abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ 0123456789"
	n = textBytes(n)
	wide := max(0, (n-chat.TextRunesMax+2)/3)
	all := make([]string, textsKept(n))
	for i := range all {
		var b strings.Builder
		b.Grow(n)
		for b.Len() < n-4*wide {
			b.WriteByte(letters[rnd.IntN(len(letters))])
		}
		for range wide {
			b.WriteRune(0x1F600 + rnd.Int32N(64))
		}
		all[i] = b.String()
	}
	return all
}

// wait pauses; false when the context ended first.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
