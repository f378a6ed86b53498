package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/client"
	"github.com/chatnode/chatnode/internal/check"
	"github.com/chatnode/chatnode/wire"
)

// Bounds of one worker.
const (
	unansweredMax = 24
	readTimeout   = 10 * time.Second
	pageMax       = 50
)

// auditor is a member of everything from the start to the end.
const auditor, owner = "auditor", "owner"

// load is the clients of a run and what they record.
type load struct {
	cfg   Config
	c     *cluster
	rec   *check.Recorder
	start time.Time
	convs []string

	workers []*worker
	owner   *client.Client
	byNode  []*client.Client // of the auditor, one bound to each node
	guests  []*guest
	wg      sync.WaitGroup // operations and loops under way

	mu    sync.Mutex
	heads map[string]uint64 // highest seq acknowledged, per conversation
	acked int
}

// now is the time of the history.
func (l *load) now() int64 { return int64(time.Since(l.start)) }

// connect makes a client of the user on the given addresses.
func (l *load) connect(ctx context.Context, user, device string, addresses []string) (*client.Client, error) {
	cfg := client.DefaultConfig()
	cfg.Device = chat.DeviceID(device)
	cfg.NetDial = l.c.dial
	cfg.InOrder = true // who is where does not depend on chance
	cfg.PingInterval, cfg.PongTimeout = 2*time.Second, 2*time.Second
	cfg.DialTimeout = 4 * time.Second
	cfg.BackoffMax = time.Second
	cfg.Logger = l.cfg.Logger.With("user", user)
	cl, err := client.Dial(ctx, addresses, client.StaticToken(l.c.token(user, false)), cfg)
	if err != nil {
		return nil, fmt.Errorf("connect %s: %w", user, err)
	}
	return cl, nil
}

// from gives the addresses in the order of client i: each prefers another node, and
// goes on to the next.
func from(i int, all []string) []string {
	at := i % len(all)
	return append(slices.Clip(all[at:]), all[:at]...)
}

// newLoad connects the clients and creates the conversations.
func newLoad(ctx context.Context, cfg Config, c *cluster, rec *check.Recorder) (*load, error) {
	l := &load{cfg: cfg, c: c, rec: rec, start: time.Now(), heads: map[string]uint64{}}
	all := c.addresses()
	var err error
	if l.owner, err = l.connect(ctx, owner, "desk", all); err != nil {
		return l, err
	}
	for _, n := range c.nodes {
		cl, err := l.connect(ctx, auditor, fmt.Sprintf("at-%d", n.place), []string{n.client})
		if err != nil {
			return l, err
		}
		l.byNode = append(l.byNode, cl)
	}
	for i := range cfg.Clients {
		w := &worker{l: l, user: fmt.Sprintf("u%d", i), rnd: rand.New(rand.NewPCG(cfg.Seed, uint64(100+i))), sent: map[string]int64{}}
		if w.cl, err = l.connect(ctx, w.user, device, from(i, all)); err != nil {
			return l, err
		}
		l.workers = append(l.workers, w)
	}
	for i := range cfg.Conversations {
		if err := l.create(ctx, fmt.Sprintf("room-%d", i), i%2 == 0); err != nil {
			return l, err
		}
	}
	for i := range cfg.Guests {
		g := &guest{l: l, user: fmt.Sprintf("g%d", i), conv: l.convs[i%len(l.convs)], rnd: rand.New(rand.NewPCG(cfg.Seed, uint64(1000+i)))}
		if g.cl, err = l.connect(ctx, g.user, device, from(i, all)); err != nil {
			return l, err
		}
		l.guests = append(l.guests, g)
	}
	return l, nil
}

const device = "phone"

// create makes one conversation with every worker and the auditor in it.
func (l *load) create(ctx context.Context, conv string, all bool) error {
	members := []chat.Change{{User: auditor, Role: chat.Reader}}
	for _, w := range l.workers {
		members = append(members, chat.Change{User: chat.UserID(w.user), Role: chat.Writer})
	}
	policy := chat.FromJoin
	if all {
		policy = chat.AllHistory
	}
	id := client.NewID()
	op := &check.Op{Kind: check.Create, Conv: conv, User: owner, Device: "desk", Call: l.now(), MsgID: id.String(),
		Sum: check.SumOf("created", owner, id.String(), conv)}
	l.rec.Invoke(op)
	ctx, cancel := context.WithTimeout(ctx, l.cfg.Liveness)
	defer cancel()
	made, err := l.owner.Create(ctx, client.Conversation{Conv: chat.ConvID(conv), Title: conv, Policy: policy, Members: members, ID: id})
	l.answered(op, made.Ack, err)
	if err != nil {
		return fmt.Errorf("create %s: %w", conv, err)
	}
	l.convs = append(l.convs, conv)
	return nil
}

// answered records what became of a write.
func (l *load) answered(op *check.Op, ack chat.Ack, err error) {
	op.Return, op.Code = l.now(), string(chat.CodeOf(err))
	op.Outcome = outcome(err)
	if err == nil {
		op.Seq, op.MsgNo, op.TimeMS, op.Root = uint64(ack.Seq), uint64(ack.MsgNo), ack.TimeMS, fmt.Sprintf("%x", ack.Root[:])
		l.mu.Lock()
		l.acked++
		l.heads[op.Conv] = max(l.heads[op.Conv], op.Seq)
		l.mu.Unlock()
	}
	l.rec.Return(op)
}

// outcome says what the caller may conclude from an error. A refusal that follows
// from the command alone is certainly without effect, and so is one by access or
// by membership: the conversation keeps it, so that no other attempt of the same
// command lands when the state has changed. The ids of the load are of now, so
// that none is refused as from the future.
func outcome(err error) check.Outcome {
	switch chat.CodeOf(err) {
	case chat.OK:
		return check.OK
	case chat.Invalid, chat.TooLarge, chat.InvalidUTF8,
		chat.NotFound, chat.Forbidden, chat.NotMember, chat.AlreadyMember, chat.MemberLimit, chat.LastOwner:
		return check.Refused
	default:
		return check.Unknown
	}
}

func (l *load) head(conv string) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.heads[conv]
}

// Text of all kinds goes in, to be compared byte by byte.
var samples = []string{"hello", "你好，世界", "שלום עולם", "👩‍👩‍👧‍👦 family", "tab\tnew\nline", `"quoted" \ back`, "mixed العربية and English"}

func text(rnd *rand.Rand, limit int) string {
	s := samples[rnd.IntN(len(samples))] + fmt.Sprintf(" %x", rnd.Uint64())
	if n := rnd.IntN(limit); n > len(s) {
		s += strings.Repeat(".", n-len(s))
	}
	return s
}

func messageSum(user, device, id, text string) check.Sum {
	return check.SumOf("message", user, device, id, text)
}

// read does one recorded read with the given client.
func (l *load) read(ctx context.Context, cl *client.Client, op *check.Op, level wire.Level) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	q := client.Query{Conv: chat.ConvID(op.Conv), Limit: int(op.Limit), Level: level, MinSeq: chat.Seq(op.MinSeq)}
	if op.From > 0 {
		q.Page, q.At = wire.After, chat.Seq(op.From-1)
	}
	op.Call = l.now()
	l.rec.Invoke(op)
	page, err := cl.History(ctx, q)
	op.Return, op.Code, op.Outcome = l.now(), string(chat.CodeOf(err)), outcome(err)
	if err == nil {
		op.Head, op.More = uint64(page.Head), page.More
		for i := range page.Entries {
			op.Entries = append(op.Entries, seen(&page.Entries[i]))
		}
	}
	l.rec.Return(op)
}

func seen(e *chat.Entry) check.Seen {
	return check.Seen{Seq: uint64(e.Seq), Sum: entrySum(e), TimeMS: e.TimeMS}
}

// entrySum is what the sender of the entry computed when it sent it.
func entrySum(e *chat.Entry) check.Sum {
	switch e.Type {
	case chat.Created:
		return check.SumOf("created", string(e.Sender), e.ClientID.String(), e.Body.Title)
	case chat.Message:
		return messageSum(string(e.Sender), string(e.Device), e.ClientID.String(), e.Body.Text)
	default:
		return changeSum(string(e.Sender), e.ClientID.String(), e.Body.Changes)
	}
}

func changeSum(user, id string, changes []chat.Change) check.Sum {
	return check.SumOf("change", user, id, fmt.Sprint(changes))
}

// close ends the clients.
func (l *load) close() {
	clients := append([]*client.Client{l.owner}, l.byNode...)
	for _, w := range l.workers {
		clients = append(clients, w.cl)
	}
	for _, g := range l.guests {
		clients = append(clients, g.cl)
	}
	for _, cl := range clients {
		if cl != nil {
			_ = cl.Close()
		}
	}
}
