package check

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
)

// OpsMax bounds a recorded history; a run plans for fewer.
const OpsMax = 4_000_000

// line is one line of a history file. Exactly one field is set.
type line struct {
	Invoke  *Op      `json:"invoke,omitempty"`
	Return  *Op      `json:"return,omitempty"`
	Open    *Stream  `json:"open,omitempty"`
	Deliver *deliver `json:"deliver,omitempty"`
	Live    int64    `json:"live,omitempty"` // the stream was wanted at the end
	Note    *Note    `json:"note,omitempty"`
}

type deliver struct {
	Stream int64    `json:"stream"`
	Got    Delivery `json:"got"`
}

// Recorder writes a history as JSON lines while it happens, so that a run that
// is killed leaves what it knew: an operation without a return is unknown.
// It is safe for concurrent use.
type Recorder struct {
	mu     sync.Mutex
	enc    *json.Encoder
	buf    *bufio.Writer
	err    error
	nextID int64
}

// NewRecorder writes to w. Call Flush before w is closed.
func NewRecorder(w io.Writer) *Recorder {
	buf := bufio.NewWriterSize(w, 1<<20)
	return &Recorder{buf: buf, enc: json.NewEncoder(buf)}
}

func (r *Recorder) write(l line) {
	if r.err == nil {
		r.err = r.enc.Encode(l)
	}
}

// Invoke gives op an id and records that it is about to be called.
func (r *Recorder) Invoke(op *Op) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.nextID++
	op.ID = r.nextID
	if op.ID > OpsMax {
		r.err = errors.Join(r.err, fmt.Errorf("more than %d operations and streams", OpsMax))
	}
	r.write(line{Invoke: op})
}

// Return records what became of op.
func (r *Recorder) Return(op *Op) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.write(line{Return: op})
}

// Open gives a stream its id and records that it was asked for.
func (r *Recorder) Open(s *Stream) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.nextID++
	s.ID = r.nextID
	r.write(line{Open: &Stream{ID: s.ID, Conv: s.Conv, User: s.User, From: s.From}})
}

// Deliver records one entry that stream id delivered.
func (r *Recorder) Deliver(id int64, d Delivery) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.write(line{Deliver: &deliver{id, d}})
}

// Live records that stream id was still wanted when the run ended.
func (r *Recorder) Live(id int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.write(line{Live: id})
}

// Note records something that is no operation.
func (r *Recorder) Note(n Note) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.write(line{Note: &n})
}

// Flush writes out what is buffered and gives the first error of all writes.
func (r *Recorder) Flush() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return errors.Join(r.err, r.buf.Flush())
}

// ReadHistory reads what a [Recorder] wrote. A last line that was cut off, as by
// a crash of the recording process, is left out.
func ReadHistory(src io.Reader) (*History, error) {
	h := &History{}
	ops, streams := map[int64]int{}, map[int64]int{}
	dec := json.NewDecoder(bufio.NewReaderSize(src, 1<<20))
	for n := 1; ; n++ {
		var l line
		err := dec.Decode(&l)
		if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
			return h, nil
		}
		if err != nil {
			return nil, fmt.Errorf("history line %d: %w", n, err)
		}
		if err := h.take(l, ops, streams); err != nil {
			return nil, fmt.Errorf("history line %d: %w", n, err)
		}
	}
}

func (h *History) take(l line, ops, streams map[int64]int) error {
	switch {
	case l.Invoke != nil:
		l.Invoke.Outcome = Unknown
		ops[l.Invoke.ID] = len(h.Ops)
		h.Ops = append(h.Ops, *l.Invoke)
	case l.Return != nil:
		i, ok := ops[l.Return.ID]
		if !ok {
			return fmt.Errorf("operation %d returns before its call", l.Return.ID)
		}
		h.Ops[i] = *l.Return
	case l.Open != nil:
		streams[l.Open.ID] = len(h.Streams)
		h.Streams = append(h.Streams, *l.Open)
	case l.Deliver != nil:
		i, ok := streams[l.Deliver.Stream]
		if !ok {
			return fmt.Errorf("stream %d delivers before it was opened", l.Deliver.Stream)
		}
		h.Streams[i].Got = append(h.Streams[i].Got, l.Deliver.Got)
	case l.Live != 0:
		i, ok := streams[l.Live]
		if !ok {
			return fmt.Errorf("stream %d lives before it was opened", l.Live)
		}
		h.Streams[i].Live = true
	case l.Note != nil:
		h.Notes = append(h.Notes, *l.Note)
	}
	return nil
}
