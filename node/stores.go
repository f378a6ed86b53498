package node

import (
	"context"
	"fmt"
	"time"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm/conv"
	"github.com/chatnode/chatnode/store"
	"github.com/chatnode/chatnode/store/pebblelog"
	"github.com/chatnode/chatnode/store/seglog"
)

var errDiskFull = chat.E("propose", chat.DiskFull, "the disk of the group's leader is below its reserve; reads go on", nil)

// openStores opens the log, the state and the watch over the free space.
func (n *Node) openStores() error {
	if err := n.makeDirs(); err != nil {
		return err
	}
	var err error
	if n.logs, err = openLog(n.cfg, n.dir.Join, n.storeOptions()); err != nil {
		return fmt.Errorf("open the log: %w", err)
	}
	n.run("log", func(context.Context) error { return n.logs.Close() })
	n.state, err = store.OpenState(n.dir.Join(stateDir), store.StateOptions{
		Logger: n.log, OnFatal: n.fatal, CacheBytes: n.cfg.Storage.CacheBytes, BufferBytes: bufferBytes, Number: conv.EntryNumber,
	})
	if err != nil {
		return fmt.Errorf("open the state: %w", err)
	}
	n.run("state", func(context.Context) error { return n.state.Close() })
	n.reserve, err = store.NewReserve(store.ReserveConfig{
		Dir: n.dir.Path(), BytesMin: uint64(n.cfg.Storage.ReserveBytes), Interval: reserveEvery, Logger: n.log, Free: n.free,
	})
	if err != nil {
		return err
	}
	n.background("disk watch", n.reserve.Run)
	return nil
}

const (
	reserveEvery = time.Second
	bufferBytes  = 128 << 20
)

func (n *Node) storeOptions() store.LogOptions {
	return store.LogOptions{Logger: n.log, OnFatal: n.fatal}
}

// openLog opens the log of all groups; path gives where a directory is. With bolt
// the groups have files of their own, and the segment log holds nothing.
func openLog(c Config, path func(name string) string, o store.LogOptions) (store.Log, error) {
	if c.Storage.Log == "pebble" {
		return pebblelog.Open(path(pebbleDir), pebblelog.Options{LogOptions: o})
	}
	return seglog.Open(path(segmentDir), seglog.Options{LogOptions: o})
}

// background runs fn until the node stops, and waits for it then.
func (n *Node) background(name string, fn func(ctx context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		fn(ctx)
	}()
	n.run(name, func(context.Context) error {
		cancel()
		<-done
		return nil
	})
}
