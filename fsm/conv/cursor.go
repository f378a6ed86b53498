package conv

// bytestring is what the rows can be read from: bytes, where the parts are used
// at once, or a string, where entries keep parts of it.
type bytestring interface{ ~string | ~[]byte }

// cursor reads fields one after the other. After the first fault it is bad and
// returns zero values.
type cursor[T bytestring] struct {
	b   T
	bad bool
}

func (c *cursor[T]) take(n int) (part T) {
	if c.bad || n < 0 || n > len(c.b) {
		c.bad = true
		return part
	}
	part, c.b = c.b[:n], c.b[n:]
	return part
}

func (c *cursor[T]) u8() byte {
	if c.bad || len(c.b) == 0 {
		c.bad = true
		return 0
	}
	v := c.b[0]
	c.b = c.b[1:]
	return v
}

func (c *cursor[T]) uvarint() uint64 {
	var v uint64
	for shift := uint(0); shift < 64; shift += 7 {
		b := c.u8()
		if shift == 63 && b > 1 {
			break
		}
		v |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return v
		}
	}
	c.bad = true
	return 0
}

// count reads a number of at most most.
func (c *cursor[T]) count(most int) int {
	n := c.uvarint()
	if n > uint64(most) {
		c.bad = true
		return 0
	}
	return int(n)
}

// str8 reads a short string: a u8 length and its bytes.
func (c *cursor[T]) str8() T { return c.take(int(c.u8())) }

// str reads a string behind a varint length of at most most.
func (c *cursor[T]) str(most int) T { return c.take(c.count(most)) }
