package netlab

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/florianl/go-nfqueue/v2"
)

// queueLenMax bounds the packets that wait in the kernel; beyond, packets are
// lost, which is what a full link does.
const queueLenMax = 4096

// delays answers the packet queue of one host.
type delays struct {
	nf     *nfqueue.Nfqueue
	cancel context.CancelFunc

	mu      sync.Mutex
	rnd     *rand.Rand
	closed  bool
	pending sync.WaitGroup
}

// Delay holds each packet that arrives at the host for base plus a random share
// of jitter, which reorders packets, and loses a share of them (0 to 1). It
// replaces an earlier delay.
func (h *Host) Delay(base, jitter time.Duration, loss float64, seed uint64) error {
	h.stopDelay()
	d := &delays{rnd: rand.New(rand.NewPCG(seed, 2))}
	h.mu.Lock()
	queue := h.queue
	h.queue++
	h.mu.Unlock()
	nf, err := nfqueue.Open(&nfqueue.Config{
		NetNS: int(h.file.Fd()), NfQueue: queue, MaxPacketLen: 64, MaxQueueLen: queueLenMax,
		Copymode: nfqueue.NfQnlCopyPacket, WriteTimeout: time.Second,
	})
	if err != nil {
		return fmt.Errorf("packet queue %d of %s: %w", queue, h.Name, err)
	}
	d.nf = nf
	ctx, cancel := context.WithCancel(context.Background())
	d.cancel = cancel
	verdict := func(a nfqueue.Attribute) int {
		if a.PacketID != nil {
			d.take(*a.PacketID, base, jitter, loss)
		}
		return 0
	}
	if err := nf.RegisterWithErrorFunc(ctx, verdict, func(error) int { return 0 }); err != nil {
		cancel()
		return errors.Join(fmt.Errorf("packet queue %d of %s: %w", queue, h.Name, err), nf.Close())
	}
	h.mu.Lock()
	h.delays = d
	h.mu.Unlock()
	return h.run("iptables", "-A", "INPUT", "!", "-i", "lo", "-j", "NFQUEUE", "--queue-num", strconv.Itoa(int(queue)), "--queue-bypass")
}

func (d *delays) take(id uint32, base, jitter time.Duration, loss float64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return
	}
	if d.rnd.Float64() < loss {
		_ = d.nf.SetVerdict(id, nfqueue.NfDrop) // a lost verdict is a lost packet
		return
	}
	wait := base
	if jitter > 0 {
		wait += time.Duration(d.rnd.Int64N(int64(jitter)))
	}
	d.pending.Add(1)
	time.AfterFunc(wait, func() {
		defer d.pending.Done()
		d.mu.Lock()
		defer d.mu.Unlock()
		if !d.closed {
			_ = d.nf.SetVerdict(id, nfqueue.NfAccept)
		}
	})
}

// stopDelay lets traffic pass and ends the queue. What was held is lost.
func (h *Host) stopDelay() {
	h.mu.Lock()
	d := h.delays
	h.delays = nil
	h.mu.Unlock()
	if d == nil {
		return
	}
	_ = h.run("iptables", "-F", "INPUT") // bypass covers a rule that stays
	d.cancel()
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	d.pending.Wait()
	_ = d.nf.Close()
}
