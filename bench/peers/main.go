package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// options is one run: which system, and what work for how long.
type options struct {
	System      string        // jetstream or etcd
	Binary      string        // of the server
	Sync        string        // always or default; jetstream only
	Streams     int           // jetstream only
	Work        string        // append, pages, latency or failover
	Outstanding int           // closed loop: operations in flight
	Rate        int           // open loop: operations per second
	Share       int           // open loop: or percent of the maximum, which is measured first
	Bytes       int           // of one message
	Duration    time.Duration // of the measured part
	Preload     int           // messages there before pages are read
	Rounds      int           // of failover
	Dir         string        // for data; "" is a temporary directory
}

const (
	outstandingMax = 4096
	streamsMax     = 64
	bytesMax       = 1 << 20
	durationMax    = 10 * time.Minute
	warmUp         = time.Second
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "peerbench:", err)
		stop()
		os.Exit(1) //nolint:gocritic // the deferred stop has been called
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	res, err := measure(ctx, o)
	if err != nil {
		return err
	}
	return json.NewEncoder(stdout).Encode(res)
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("peerbench", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.System, "system", "jetstream", "jetstream or etcd")
	f.StringVar(&o.Binary, "binary", "", "path of the server's binary")
	f.StringVar(&o.Sync, "sync", "always", "jetstream's sync_interval: always or default")
	f.IntVar(&o.Streams, "streams", 1, "jetstream's streams, each a Raft group; appends take turns")
	f.StringVar(&o.Work, "work", "append", "append, pages, latency or failover")
	f.IntVar(&o.Outstanding, "outstanding", 64, "operations in flight (closed loop)")
	f.IntVar(&o.Rate, "rate", 1000, "operations per second (work latency)")
	f.IntVar(&o.Share, "share", 0, "percent of the maximum instead of --rate (work latency)")
	f.IntVar(&o.Bytes, "bytes", 256, "bytes of one message")
	f.DurationVar(&o.Duration, "duration", 5*time.Second, "of the measured part")
	f.IntVar(&o.Preload, "preload", 20_000, "messages there before pages are read")
	f.IntVar(&o.Rounds, "rounds", 5, "kills (work failover)")
	f.StringVar(&o.Dir, "dir", "", "directory for data (default: a temporary one)")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	var errs []error
	fault := func(format string, a ...any) { errs = append(errs, fmt.Errorf(format, a...)) }
	if o.System != "jetstream" && o.System != "etcd" {
		fault("--system %q: want jetstream or etcd", o.System)
	}
	if o.Binary == "" {
		fault("--binary is missing: name the server's binary")
	}
	if o.Sync != "always" && o.Sync != "default" {
		fault("--sync %q: want always or default", o.Sync)
	}
	switch o.Work {
	case "append", "pages", "latency", "failover":
	default:
		fault("--work %q: want append, pages, latency or failover", o.Work)
	}
	if o.Streams < 1 || o.Streams > streamsMax {
		fault("--streams %d: want 1 to %d", o.Streams, streamsMax)
	}
	if o.Streams > 1 && o.Work != "append" {
		fault("--streams %d: the work %s uses one stream", o.Streams, o.Work)
	}
	if o.Outstanding < 1 || o.Outstanding > outstandingMax {
		fault("--outstanding %d: want 1 to %d", o.Outstanding, outstandingMax)
	}
	if o.Bytes < 1 || o.Bytes > bytesMax {
		fault("--bytes %d: want 1 to %d", o.Bytes, bytesMax)
	}
	if o.Duration <= 0 || o.Duration > durationMax {
		fault("--duration %v: want up to %v", o.Duration, durationMax)
	}
	if o.Share < 0 || o.Share > 100 {
		fault("--share %d: want up to 100", o.Share)
	}
	if o.Rate < 1 || o.Preload < 50 || o.Rounds < 1 || o.Rounds > 100 {
		fault("--rate and --rounds (at most 100) must be 1 or more, --preload 50 or more")
	}
	return o, errors.Join(errs...)
}
