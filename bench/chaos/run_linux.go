package chaos

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/chatnode/chatnode/internal/check"
)

// phases beside the load have bounds of their own.
const (
	setupMax     = 3 * time.Minute
	finalMax     = 5 * time.Minute
	brokenMax    = time.Minute
	porcupineMax = 60 * time.Second
)

// Result is what a run found. It is one JSON line of a result file.
type Result struct {
	Kind       string         `json:"kind"`
	Seed       uint64         `json:"seed"`
	OK         bool           `json:"ok"`
	Faults     []string       `json:"faults"`
	Pairs      bool           `json:"pairs"`
	Nodes      int            `json:"nodes"`
	Clients    int            `json:"clients"`
	LoadS      float64        `json:"load_s"`
	Injected   map[string]int `json:"injected"`
	SettledS   float64        `json:"settled_s"` // from the heal to the end of the liveness phase
	Failures   []string       `json:"failures,omitempty"`
	Check      *check.Report  `json:"check,omitempty"`
	Kept       string         `json:"kept,omitempty"`
	Replay     string         `json:"replay,omitempty"`
	Unfinished string         `json:"unfinished,omitempty"` // why the run could not be judged
}

// ErrMeans says that the machine lacks what a chosen fault needs.
var ErrMeans = errors.New("the machine lacks")

// Run does one run. The error is of the harness; what the service did wrong is in
// the result. A run that was interrupted before anything went wrong leaves nothing.
func Run(ctx context.Context, cfg Config) (res Result, err error) {
	res = Result{Kind: "chaos", Seed: cfg.Seed, Faults: cfg.Faults, Pairs: cfg.Pairs, Nodes: cfg.Nodes, Clients: cfg.Clients, Replay: replay(cfg)}
	defer func() {
		if err != nil {
			res.Unfinished = err.Error()
		}
	}()
	if err := cfg.Validate(); err != nil {
		return res, err
	}
	if lacks := missing(cfg); lacks != "" {
		return res, fmt.Errorf("%w: %s", ErrMeans, lacks)
	}
	// Two runs in one directory would write over each other's history.
	if err := errors.Join(os.MkdirAll(filepath.Dir(cfg.Dir), 0o755), os.Mkdir(cfg.Dir, 0o755)); err != nil {
		return res, err
	}
	err = judged(ctx, cfg, &res)
	res.OK = err == nil && len(res.Failures) == 0 && res.Check != nil && res.Check.OK()
	if !cfg.Keep && (res.OK || ctx.Err() != nil && len(res.Failures) == 0) {
		return res, errors.Join(err, os.RemoveAll(cfg.Dir))
	}
	res.Kept = cfg.Dir
	return res, err
}

// judged runs the cluster under load and faults, takes everything down, and checks
// the history.
func judged(ctx context.Context, cfg Config, res *Result) error {
	file, err := os.Create(filepath.Join(cfg.Dir, "history.jsonl"))
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	r := &running{cfg: cfg, rec: check.NewRecorder(file), res: res}
	if r.c, err = newCluster(cfg); err != nil {
		return errors.Join(err, r.c.close())
	}
	err = r.run(ctx)
	if r.l != nil {
		r.l.close() // again, after an error; a client takes that
	}
	err = errors.Join(err, r.c.close(), r.rec.Flush())
	if err != nil {
		return err
	}
	return r.judge()
}

// running is the state of one run.
type running struct {
	cfg    Config
	c      *cluster
	rec    *check.Recorder
	l      *load
	m      *nemesis
	res    *Result
	finals []check.Final
	hashes []check.Hashes
}

func (r *running) run(ctx context.Context) error {
	setup, cancel := context.WithTimeout(ctx, setupMax)
	defer cancel()
	if err := r.c.start(setup); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	var err error
	if r.l, err = newLoad(setup, r.cfg, r.c, r.rec); err != nil {
		return fmt.Errorf("set up the load: %w", err)
	}
	if err := r.l.follow(); err != nil {
		return err
	}
	r.m = newNemesis(r.cfg, r.c, r.rec, r.l.now)
	watching, unwatch := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() { r.m.watch(watching) })
	err = r.phases(ctx)
	unwatch()
	watch.Wait()
	r.res.Injected, r.res.Failures = r.m.done, append(r.m.failures(), r.res.Failures...)
	if err != nil {
		return err
	}
	r.l.close() // clients of nodes that stop would only dial and dial
	stop, cancel2 := context.WithTimeout(ctx, finalMax)
	defer cancel2()
	if r.hashes, err = r.c.hashes(stop); err != nil {
		r.res.Failures = append(r.res.Failures, err.Error())
	}
	return nil
}

func (r *running) phases(ctx context.Context) error {
	r.m.note("load begins")
	begin := time.Now()
	loading, stop := context.WithTimeout(ctx, r.cfg.Load)
	var wg sync.WaitGroup
	for _, w := range r.l.workers {
		wg.Go(func() { w.run(loading) })
	}
	for _, g := range r.l.guests {
		wg.Go(func() { g.run(loading) })
	}
	r.m.run(loading)
	wg.Wait()
	stop()
	r.res.LoadS = time.Since(begin).Seconds()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	r.m.note("heal")
	if err := r.heal(ctx); err != nil {
		r.fail(err)
	}
	healed := time.Now()
	if err := r.l.settle(ctx); err != nil {
		r.fail(err)
	}
	r.res.SettledS = time.Since(healed).Seconds()
	if err := r.l.drain(ctx); err != nil {
		r.fail(err)
	}
	for _, w := range r.l.workers {
		for _, s := range w.streams {
			r.rec.Live(s.id)
			s.sub.Close()
		}
	}
	r.m.note("final reads")
	bound := finalMax
	if len(r.m.failures()) > 0 { // it is broken already; what can be read is read soon
		bound = brokenMax
	}
	final, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	var err error
	if r.finals, err = r.l.final(final); err != nil {
		r.fail(err)
		return fmt.Errorf("no final reads: %w", err)
	}
	return nil
}

func (r *running) fail(err error) { r.m.fail("%v", err) }

// heal makes everything whole and brings every node up.
func (r *running) heal(ctx context.Context) error {
	errs := []error{r.c.heal()}
	for _, n := range r.c.nodes {
		if n.process() == nil {
			n.excused("")
			errs = append(errs, n.start(ctx, false, ""))
		}
	}
	return errors.Join(errs...)
}

// judge reads the history back from its file and checks it.
func (r *running) judge() error {
	f, err := os.Open(filepath.Join(r.cfg.Dir, "history.jsonl"))
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	h, err := check.ReadHistory(f)
	if err != nil {
		return err
	}
	rep := check.Sweep(h, r.finals, r.hashes)
	pages := 0
	check.Porcupine(h, r.finals, porcupineMax, rep, func(conv string, info porcupine.LinearizationInfo) {
		if pages++; pages <= 3 {
			_ = check.Visualize(info, filepath.Join(r.cfg.Dir, "porcupine-"+conv+".html")) // a page is a help, not a result
		}
	})
	r.res.Check = rep
	return nil
}

// replay is the command that does the same run again: the schedule follows from
// the seed and from all of these.
func replay(cfg Config) string {
	faults := strings.Join(cfg.Faults, ",")
	if faults == "" {
		faults = "none"
	}
	words := []string{fmt.Sprintf("chatbench chaos --binary %s --seed %d --faults %s --load %v --calm %v --liveness %v --clients %d --guests %d --conversations %d --nodes %d --groups %d --rate %v",
		quoted(cfg.Binary), cfg.Seed, faults, cfg.Load, cfg.Calm, cfg.Liveness, cfg.Clients, cfg.Guests, cfg.Conversations, cfg.Nodes, cfg.Groups, cfg.Rate)}
	if cfg.Pairs {
		words = append(words, "--pairs")
	}
	for _, env := range cfg.NodeEnv {
		words = append(words, "--node-env", quoted(env))
	}
	return strings.Join(words, " ")
}

// quoted is s as a shell takes it.
func quoted(s string) string {
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool { return !strings.ContainsRune(plain, r) }) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// plain are characters that mean nothing to a shell.
const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./:=-"
