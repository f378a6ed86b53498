package wire

import "github.com/chatnode/chatnode/chat"

// Decoder steps through the objects of one frame, which is an object or an
// array of objects:
//
//	for d := NewDecoder(frame); d.Next(); {
//		err := d.Request(&req)
//	}
//
// After an error for which [Decoder.Broken] is true nothing more can be read;
// after any other the next object is read as usual.
type Decoder struct {
	p     scanner
	limit int32 // small, since each frame costs a Decoder
	count int32
	state decoderState
	empty bool // the frame is an array without objects, an error yet to be read

	// What the functions for fields fill.
	req   *Request
	rep   *Reply
	entry *chat.Entry
	pair  *memberPair
}

// memberPair is an element of a list of members or changes.
type memberPair struct {
	user string
	role string
	seq  chat.Seq
}

type decoderState uint8

const (
	atStart decoderState = iota
	inArray
	atEnd
)

// NewDecoder reads a frame. What it decodes shares the memory of frame.
func NewDecoder(frame string) Decoder {
	return Decoder{p: scanner{s: frame}, limit: FrameObjectsMax}
}

// Broken reports whether the frame is not JSON, or over a limit, from here on.
func (d *Decoder) Broken() bool { return d.p.fault != nil }

// Next reports whether there is an object, or an error, to read.
func (d *Decoder) Next() bool {
	switch d.state {
	case atEnd:
		return false
	case atStart:
		d.state = atEnd
		if d.p.peek() == '[' {
			d.p.open('[')
			d.state = inArray
			if d.p.peek() == ']' {
				d.p.i++
				d.empty = !d.end()
				return true
			}
		}
	case inArray:
		switch {
		case d.p.fault != nil:
			return false
		case d.p.peek() == ']':
			d.p.i++
			return d.end()
		case !d.p.expect(','):
			d.state = atEnd
			return true
		}
	}
	if d.count++; d.count > d.limit {
		d.p.fail(chat.TooLarge, "too many objects in one frame")
	}
	return true
}

// end checks that nothing follows the last object; what follows is an error yet
// to be read.
func (d *Decoder) end() bool {
	d.state = atEnd
	if d.p.peek() != 0 || d.p.i < len(d.p.s) {
		d.p.malformed()
		return true
	}
	return false
}

// object reads one object, calling field for each member. A well-formed value
// that its field does not take is skipped, and what was wrong returned after
// the object has been read to its end.
func (d *Decoder) object(seen *fieldSet, read func(*Decoder, string, *fieldSet) error) error {
	p := &d.p
	if p.fault != nil {
		return p.fault
	}
	if d.empty {
		return invalid("an array holds 1 to 512 objects")
	}
	if p.peek() != '{' {
		if !p.skip() {
			return p.fault
		}
		p.refused = nil
		return d.tail(invalid("a frame is a JSON object"))
	}
	p.open('{')
	var wrong error
	for first := true; p.more(&first, '}'); {
		name, ok := p.key()
		if !ok {
			break
		}
		if err := read(d, name, seen); err != nil && wrong == nil {
			wrong = err
		}
	}
	if p.fault != nil {
		return p.fault
	}
	if p.refused != nil {
		if wrong == nil {
			wrong = p.refused
		}
		p.refused = nil
	}
	return d.tail(wrong)
}

// tail checks what stands behind a frame of one object.
func (d *Decoder) tail(err error) error {
	if d.state == atEnd && d.count == 1 && d.p.depth == 0 {
		if d.p.peek() != 0 || d.p.i < len(d.p.s) {
			d.p.malformed()
			return d.p.fault
		}
	}
	return err
}

func invalid(msg string) error { return chat.E("decode", chat.Invalid, msg, nil) }

// Readers of fields. Each consumes the value whatever it is.

func (d *Decoder) string(name string, v *string) error {
	if d.p.peek() != '"' {
		return d.wrong(name, "must be a string")
	}
	s, ok := d.p.str()
	if !ok {
		return d.p.fault
	}
	*v = s
	return nil
}

func (d *Decoder) wrong(name, what string) error {
	if !d.p.skip() {
		return d.p.fault
	}
	return invalid(name + " " + what)
}

func (d *Decoder) uint(name string, v *uint64) error {
	n, ok := d.p.uint()
	if d.p.fault != nil {
		return d.p.fault
	}
	if !ok {
		return invalid(name + " must be an integer from 0 to 2^53-1")
	}
	*v = n
	return nil
}

func (d *Decoder) seq(name string, v *chat.Seq) error { return d.uint(name, (*uint64)(v)) }

func (d *Decoder) time(name string, v *int64) error {
	var n uint64
	err := d.uint(name, &n)
	*v = int64(n)
	return err
}

func (d *Decoder) bool(name string, v *bool) error {
	switch d.p.peek() {
	case 't':
		*v = true
		if !d.p.word("true") {
			return d.p.fault
		}
	case 'f':
		*v = false
		if !d.p.word("false") {
			return d.p.fault
		}
	default:
		return d.wrong(name, "must be true or false")
	}
	return nil
}

func (d *Decoder) clientID(name string, v *chat.ClientID) error {
	var s string
	if err := d.string(name, &s); err != nil {
		return err
	}
	id, ok := parseUUID(s)
	if !ok {
		return invalid(name + " must be a UUID")
	}
	*v = id
	return nil
}

// uuidAt gives where the digits of each byte stand in the text of a UUID.
var uuidAt = [16]uint8{0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34}

func parseUUID(s string) (id chat.ClientID, ok bool) {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return id, false
	}
	var bad byte
	for i, at := range uuidAt {
		hi, lo := unhexTable[s[at]], unhexTable[s[at+1]]
		bad |= hi | lo
		id[i] = hi<<4 | lo
	}
	return id, bad < 16
}

// unhexTable is unhex for every byte.
var unhexTable = func() (t [256]byte) {
	for i := range t {
		t[i] = unhex(byte(i))
	}
	return t
}()

func (d *Decoder) bytes(name string, v []byte) error {
	var s string
	if err := d.string(name, &s); err != nil {
		return err
	}
	if len(s) != 2*len(v) {
		return invalid(name + " has the wrong length")
	}
	if !readHex(v, s) {
		return invalid(name + " must be hexadecimal")
	}
	return nil
}

func readHex(v []byte, s string) bool {
	var bad byte
	for i := range v {
		hi, lo := unhexTable[s[2*i]], unhexTable[s[2*i+1]]
		bad |= hi | lo
		v[i] = hi<<4 | lo
	}
	return bad < 16
}

func (d *Decoder) hash(name string, v *chat.Hash) error { return d.bytes(name, v[:]) }

// list reads an array of at most most elements, each read by element.
func (d *Decoder) list(name string, most int, element func() error) error {
	p := &d.p
	if p.peek() != '[' {
		return d.wrong(name, "must be an array")
	}
	p.open('[')
	var wrong error
	n := 0
	for first := true; p.more(&first, ']'); n++ {
		if n >= most {
			if n == most && wrong == nil {
				wrong = chat.E("decode", chat.TooLarge, "too many elements in "+name, nil)
			}
			if !p.skip() {
				break
			}
			continue
		}
		if err := element(); err != nil && wrong == nil {
			wrong = err
		}
	}
	if p.fault != nil {
		return p.fault
	}
	return wrong
}

// record reads an object within a frame.
func (d *Decoder) record(name string, read func(d *Decoder, name string, seen *fieldSet) error) error {
	if d.p.peek() != '{' {
		return d.wrong(name, "must hold objects")
	}
	var seen fieldSet
	return d.object(&seen, read)
}

// skip reads a field that nobody knows.
func (d *Decoder) skip() error {
	if !d.p.skip() {
		return d.p.fault
	}
	return nil
}
