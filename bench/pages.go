package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/client"
	"github.com/chatnode/chatnode/wire"
)

// preloadBytesMax bounds what is written before pages are read.
const preloadBytesMax = 4 << 30

// errShortPage is counted for a page with fewer entries than were there: its
// speed would say nothing.
var errShortPage = chat.E("page", chat.Internal, "a page has fewer entries than the conversation holds", nil)

// page draws what one reader asks for. Every conversation holds w.Preload messages
// at least, after the entry that made it.
func (w *Throughput) page(rnd *rand.Rand, conv chat.ConvID) client.Query {
	q := client.Query{Conv: conv, Limit: w.PageLimit}
	if w.Anywhere {
		q.Page, q.At = wire.After, chat.Seq(rnd.IntN(1+w.Preload-w.PageLimit))
	}
	return q
}

// fill puts w.Preload messages into every conversation.
func (w Throughput) fill(ctx context.Context, r *Run, convs []chat.ConvID) error {
	clients, err := r.dial(ctx, 4*len(r.Target.Nodes), nil)
	if err != nil {
		return err
	}
	defer closeAll(clients)
	r.say("%d messages into each of %d conversations", w.Preload, len(convs))
	texts := texts(rand.New(rand.NewPCG(r.Seed, 1)), w.Bytes)
	errs := make([]error, len(clients))
	var wg sync.WaitGroup
	for i, c := range clients {
		wg.Go(func() {
			var mine []chat.ConvID
			for k := i; k < len(convs); k += len(clients) {
				mine = append(mine, convs[k])
			}
			errs[i] = w.fillWith(ctx, c, mine, texts)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// fillWith sends round by round, so that no conversation waits for its acks while
// others could go on.
func (w Throughput) fillWith(ctx context.Context, c *client.Client, convs []chat.ConvID, texts []string) error {
	var (
		answers sync.WaitGroup
		mu      sync.Mutex
		first   error
	)
	took := func(_ chat.Ack, err error) {
		if err != nil {
			mu.Lock()
			first = err
			mu.Unlock()
		}
		answers.Done()
	}
	for n := range w.Preload {
		for _, conv := range convs {
			answers.Add(1)
			if err := c.SendAsync(ctx, client.Message{Conv: conv, Text: texts[n%len(texts)]}, took); err != nil {
				took(chat.Ack{}, err)
				answers.Wait()
				return fmt.Errorf("preload: %w", err)
			}
		}
	}
	answers.Wait()
	if first != nil {
		return fmt.Errorf("preload: %w", first)
	}
	return nil
}
