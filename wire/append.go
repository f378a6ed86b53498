package wire

import (
	"strconv"
	"unicode/utf8"

	"github.com/chatnode/chatnode/chat"
)

const hexDigits = "0123456789abcdef"

// AppendString appends s as a JSON string. Bytes that are not UTF-8 become
// U+FFFD, so that the frame stays readable; texts are checked before they are
// stored.
func AppendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	n := plain(s)
	dst = append(dst, s[:n]...)
	start := n
	for i := n; i < len(s); {
		b := s[i]
		if b >= 0x20 && b != '"' && b != '\\' && b < utf8.RuneSelf {
			i++
			continue
		}
		if b < utf8.RuneSelf {
			dst = appendEscape(append(dst, s[start:i]...), b)
			i++
			start = i
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && size == 1 {
			dst = append(append(dst, s[start:i]...), "\uFFFD"...)
			i++
			start = i
			continue
		}
		i += size
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

func appendEscape(dst []byte, b byte) []byte {
	switch b {
	case '"', '\\':
		return append(dst, '\\', b)
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	}
	return append(dst, '\\', 'u', '0', '0', hexDigits[b>>4], hexDigits[b&15])
}

// Each of these appends a comma, a name that needs no escape, and a value.

func appendUint(dst []byte, name string, v uint64) []byte {
	return strconv.AppendUint(appendName(dst, name), v, 10)
}

func appendText(dst []byte, name, v string) []byte {
	return AppendString(appendName(dst, name), v)
}

func appendID(dst []byte, name string, id chat.ClientID) []byte {
	dst = append(appendName(dst, name), '"')
	return append(id.Append(dst), '"')
}

func appendHex(dst []byte, name string, b []byte) []byte {
	return appendHexValue(appendName(dst, name), b)
}

func appendHexValue(dst, b []byte) []byte {
	dst = append(dst, '"')
	for _, c := range b {
		dst = append(dst, hexDigits[c>>4], hexDigits[c&15])
	}
	return append(dst, '"')
}

func appendName(dst []byte, name string) []byte {
	dst = append(dst, ',', '"')
	dst = append(dst, name...)
	return append(dst, '"', ':')
}

// Those below leave out what is empty.

func optUint(dst []byte, name string, v uint64) []byte {
	if v == 0 {
		return dst
	}
	return appendUint(dst, name, v)
}

func optText(dst []byte, name, v string) []byte {
	if v == "" {
		return dst
	}
	return appendText(dst, name, v)
}

func optBool(dst []byte, name string, v bool) []byte {
	if !v {
		return dst
	}
	return append(appendName(dst, name), "true"...)
}

func optID(dst []byte, name string, id chat.ClientID) []byte {
	if id.IsZero() {
		return dst
	}
	return appendID(dst, name, id)
}

func appendChanges(dst []byte, name string, changes []chat.Change) []byte {
	dst = append(appendName(dst, name), '[')
	for i, c := range changes {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = AppendString(append(dst, `{"user":`...), string(c.User))
		dst = append(dst, `,"role":"`...)
		dst = append(dst, RoleName(c.Role)...)
		dst = append(dst, '"', '}')
	}
	return append(dst, ']')
}

// begin opens a frame.
func begin(dst []byte, t Type, ref uint64) []byte {
	dst = append(dst, `{"type":"`...)
	dst = append(dst, t.String()...)
	dst = append(dst, '"')
	return optUint(dst, "ref", ref)
}
