package wire

import (
	"strings"
	"unicode/utf8"

	"github.com/chatnode/chatnode/chat"
)

// scanner reads JSON from a string that nobody changes, so that what it returns
// may be parts of it. A method that meets bytes which are not JSON sets fault
// and reports false; nothing can be read after that. What is JSON and cannot be
// taken is read to its end and remembered in refused, for the object around it.
type scanner struct {
	s       string
	i       int
	depth   int
	fault   *chat.Error
	refused *chat.Error
}

func (p *scanner) fail(code chat.Code, msg string) bool {
	if p.fault == nil {
		p.fault = chat.E("decode", code, msg, nil)
	}
	return false
}

func (p *scanner) refuse(code chat.Code, msg string) {
	if p.refused == nil {
		p.refused = chat.E("decode", code, msg, nil)
	}
}

func (p *scanner) malformed() bool { return p.fail(chat.Invalid, "the frame is not JSON") }

func (p *scanner) space() {
	for p.i < len(p.s) {
		switch p.s[p.i] {
		case ' ', '\n', '\t', '\r':
			p.i++
		default:
			return
		}
	}
}

// peek gives the next byte that is not space, 0 at the end.
func (p *scanner) peek() byte {
	if p.i < len(p.s) && p.s[p.i] > ' ' {
		return p.s[p.i]
	}
	p.space()
	if p.i < len(p.s) {
		return p.s[p.i]
	}
	return 0
}

func (p *scanner) expect(b byte) bool {
	if p.peek() != b {
		return p.malformed()
	}
	p.i++
	return true
}

// open enters an object or array; more then steps through it.
func (p *scanner) open(b byte) {
	if p.depth >= DepthMax {
		p.fail(chat.Invalid, "nested too deeply")
		return
	}
	p.depth++
	p.expect(b)
}

// more reports whether another member or element follows, and consumes the
// comma before it, or the closing byte.
func (p *scanner) more(first *bool, closing byte) bool {
	if p.fault != nil {
		return false
	}
	b := p.peek()
	if b == closing {
		p.i++
		p.depth--
		return false
	}
	if *first {
		*first = false
		return true
	}
	if b != ',' {
		return p.malformed()
	}
	p.i++
	if p.peek() == closing {
		return p.malformed()
	}
	return true
}

// key reads the name of a member and the colon behind it.
func (p *scanner) key() (string, bool) {
	if p.peek() != '"' {
		return "", p.malformed()
	}
	k, ok := p.str()
	if !ok {
		return "", false
	}
	return k, p.expect(':')
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// plain gives the length of the run at the start of s that stands for itself in
// a JSON string and is ASCII, eight bytes at a time. It may stop up to seven
// bytes early.
func plain(s string) int {
	n := 0
	for ; len(s)-n >= 8; n += 8 {
		t := s[n : n+8]
		w := uint64(t[0]) | uint64(t[1])<<8 | uint64(t[2])<<16 | uint64(t[3])<<24 |
			uint64(t[4])<<32 | uint64(t[5])<<40 | uint64(t[6])<<48 | uint64(t[7])<<56
		quote := w ^ ones*'"'
		slash := w ^ ones*'\\'
		if (w|(w-ones*0x20)|(quote-ones)|(slash-ones))&highs != 0 {
			return n
		}
	}
	return n
}

// str reads a string; the caller has seen the quote.
func (p *scanner) str() (string, bool) {
	p.i++
	start := p.i
	p.i += plain(p.s[p.i:])
	ascii := true
	for p.i < len(p.s) {
		switch b := p.s[p.i]; {
		case b == '"':
			v := p.s[start:p.i]
			p.i++
			if !ascii && !utf8.ValidString(v) {
				p.refuse(chat.InvalidUTF8, "a string is not UTF-8")
			}
			return v, true
		case b == '\\':
			return p.escaped(start)
		case b < 0x20:
			return "", p.malformed()
		case b >= utf8.RuneSelf:
			ascii = false
		}
		p.i++
	}
	return "", p.malformed()
}

// escaped goes on with a string that began at start and has an escape at i.
func (p *scanner) escaped(start int) (string, bool) {
	var b strings.Builder
	rest := p.s[start:]
	if end := strings.IndexByte(p.s[p.i:], '"'); end >= 0 {
		b.Grow(p.i - start + end)
	}
	b.WriteString(rest[:p.i-start])
	for p.i < len(p.s) {
		switch c := p.s[p.i]; {
		case c == '"':
			p.i++
			v := b.String()
			if !utf8.ValidString(v) {
				p.refuse(chat.InvalidUTF8, "a string is not UTF-8")
			}
			return v, true
		case c == '\\':
			if !p.escape(&b) {
				return "", false
			}
		case c < 0x20:
			return "", p.malformed()
		default:
			run := p.i
			for p.i < len(p.s) && p.s[p.i] != '"' && p.s[p.i] != '\\' && p.s[p.i] >= 0x20 {
				p.i++
			}
			b.WriteString(p.s[run:p.i])
		}
	}
	return "", p.malformed()
}

// escape reads one escape sequence.
func (p *scanner) escape(b *strings.Builder) bool {
	if p.i+1 >= len(p.s) {
		return p.malformed()
	}
	c := p.s[p.i+1]
	if c == 'u' {
		return p.unicode(b)
	}
	at := strings.IndexByte(`"\/bfnrt`, c)
	if at < 0 {
		return p.malformed()
	}
	b.WriteByte("\"\\/\b\f\n\r\t"[at])
	p.i += 2
	return true
}

// unicode reads \uXXXX, or two of them that are a surrogate pair. Half a pair,
// as a text has that was cut within a character, is no character and refused.
func (p *scanner) unicode(b *strings.Builder) bool {
	r, ok := p.hex4()
	if !ok {
		return p.malformed()
	}
	if r >= 0xD800 && r < 0xE000 {
		low, next := rune(0), p.i
		if r < 0xDC00 && strings.HasPrefix(p.s[p.i:], `\u`) {
			if low, ok = p.hex4(); !ok {
				return p.malformed()
			}
		}
		if low < 0xDC00 || low >= 0xE000 {
			p.refuse(chat.InvalidUTF8, "half of a surrogate pair")
			p.i = next // what follows stands for itself
			return true
		}
		r = (r-0xD800)<<10 + (low - 0xDC00) + 0x10000
	}
	b.WriteRune(r)
	return true
}

// hex4 reads \uXXXX at i.
func (p *scanner) hex4() (rune, bool) {
	if len(p.s)-p.i < 6 {
		return 0, false
	}
	var r rune
	for _, c := range []byte(p.s[p.i+2 : p.i+6]) {
		d := unhex(c)
		if d > 15 {
			return 0, false
		}
		r = r<<4 | rune(d)
	}
	p.i += 6
	return r, true
}

func unhex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	}
	return 0xFF
}

// skip reads any value and forgets it.
func (p *scanner) skip() bool {
	b := p.peek()
	if (b == '{' || b == '[') && p.depth >= DepthMax {
		p.refuse(chat.Invalid, "nested too deeply")
		return p.skipDeep()
	}
	switch b {
	case '"':
		_, ok := p.str()
		return ok
	case '{':
		p.open('{')
		for first := true; p.more(&first, '}'); {
			if _, ok := p.key(); !ok || !p.skip() {
				return false
			}
		}
	case '[':
		p.open('[')
		for first := true; p.more(&first, ']'); {
			if !p.skip() {
				return false
			}
		}
	case 't':
		return p.word("true")
	case 'f':
		return p.word("false")
	case 'n':
		return p.word("null")
	default:
		return p.number()
	}
	return p.fault == nil
}

// skipMax is how deep a refused value may be for the rest of its frame to be
// read.
const skipMax = 1024

// skipDeep reads an array or object without recursion.
func (p *scanner) skipDeep() bool {
	var objects [skipMax]bool // of the levels that are open
	for n := 0; ; {
		first := false
		switch b := p.peek(); {
		case b != '{' && b != '[':
			if !p.skip() {
				return false
			}
		case n == skipMax:
			return p.fail(chat.Invalid, "nested too deeply")
		default:
			objects[n], first = b == '{', true
			p.i++
			p.depth++
			n++
		}
		for n > 0 {
			closing := byte(']')
			if objects[n-1] {
				closing = '}'
			}
			if p.more(&first, closing) {
				break
			}
			if p.fault != nil {
				return false
			}
			n--
			first = false
		}
		if n == 0 {
			return true
		}
		if objects[n-1] {
			if _, ok := p.key(); !ok {
				return false
			}
		}
	}
}

func (p *scanner) word(w string) bool {
	if !strings.HasPrefix(p.s[p.i:], w) {
		return p.malformed()
	}
	p.i += len(w)
	return true
}

func (p *scanner) digits() bool {
	start := p.i
	for p.i < len(p.s) && p.s[p.i]-'0' <= 9 {
		p.i++
	}
	return p.i > start
}

// number skips a number of any form.
func (p *scanner) number() bool {
	if p.i < len(p.s) && p.s[p.i] == '-' {
		p.i++
	}
	zero := p.i < len(p.s) && p.s[p.i] == '0'
	start := p.i
	if !p.digits() || zero && p.i-start > 1 {
		return p.malformed()
	}
	if p.i < len(p.s) && p.s[p.i] == '.' {
		p.i++
		if !p.digits() {
			return p.malformed()
		}
	}
	if p.i < len(p.s) && p.s[p.i]|0x20 == 'e' {
		p.i++
		if p.i < len(p.s) && (p.s[p.i] == '+' || p.s[p.i] == '-') {
			p.i++
		}
		if !p.digits() {
			return p.malformed()
		}
	}
	return true
}

// uint reads an integer from 0 to [RefMax]. ok is false, and the value skipped,
// when it is something else.
func (p *scanner) uint() (n uint64, ok bool) {
	p.peek()
	start := p.i
	for p.i < len(p.s) && p.s[p.i]-'0' <= 9 && p.i-start < 17 {
		n = n*10 + uint64(p.s[p.i]-'0')
		p.i++
	}
	leading := p.i-start > 1 && p.s[start] == '0'
	ends := p.i < len(p.s) && (p.s[p.i] == ',' || p.s[p.i] == '}' || p.s[p.i] == ']' || p.s[p.i] <= ' ')
	if p.i > start && ends && !leading && n <= RefMax {
		return n, true
	}
	p.i = start
	p.skip()
	return 0, false
}
