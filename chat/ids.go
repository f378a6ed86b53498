package chat

import (
	"encoding/hex"
	"errors"
	"fmt"
)

// ConvID names a conversation. It is 1..[IDBytesMax] bytes of printable ASCII
// without space or '/', chosen by the creator or derived from two users
// ([DirectID]).
type ConvID string

// UserID names a person or a bot, in the same alphabet as a [ConvID].
type UserID string

// DeviceID names one device of a user, in the same alphabet as a [ConvID].
type DeviceID string

// Seq is the number of an entry in its conversation: 1, 2, 3, … without gaps.
type Seq uint64

// MsgNo is the number of messages in a conversation up to some entry. The
// difference of two is a count of unread messages.
type MsgNo uint64

// IDBytesMax bounds every textual id.
const IDBytesMax = 64

// ValidID reports whether s may be a conversation, user or device id: 1 to
// [IDBytesMax] bytes of ASCII letters, digits and "-_.:@~+".
func ValidID[T ~string | ~[]byte](s T) bool {
	if len(s) < 1 || len(s) > IDBytesMax {
		return false
	}
	for i := 0; i < len(s); i++ {
		if !idByte(s[i]) {
			return false
		}
	}
	return true
}

func idByte(b byte) bool {
	switch {
	case 'a' <= b && b <= 'z', 'A' <= b && b <= 'Z', '0' <= b && b <= '9':
		return true
	}
	switch b {
	case '-', '_', '.', ':', '@', '~', '+':
		return true
	}
	return false
}

// ClientID is the id that a client gives a message so that any number of
// retries append it once. It is a UUID; version 7 lets the service refuse an id
// that is older than its memory instead of appending twice.
type ClientID [16]byte

// IsZero reports whether no id is given.
func (id ClientID) IsZero() bool { return id == ClientID{} }

// String gives the canonical form, 8-4-4-4-12 lower-case hexadecimal digits.
func (id ClientID) String() string {
	return string(id.Append(make([]byte, 0, 36)))
}

// Append appends the canonical form to b.
func (id ClientID) Append(b []byte) []byte {
	var t [36]byte
	hex.Encode(t[0:8], id[0:4])
	t[8] = '-'
	hex.Encode(t[9:13], id[4:6])
	t[13] = '-'
	hex.Encode(t[14:18], id[6:8])
	t[18] = '-'
	hex.Encode(t[19:23], id[8:10])
	t[23] = '-'
	hex.Encode(t[24:36], id[10:16])
	return append(b, t[:]...)
}

// TimeMS is the Unix time in milliseconds within a UUIDv7. ok is false for an
// id of another version.
func (id ClientID) TimeMS() (ms int64, ok bool) {
	if id[6]>>4 != 7 {
		return 0, false
	}
	for _, b := range id[:6] {
		ms = ms<<8 | int64(b)
	}
	return ms, true
}

var errClientID = errors.New("want a UUID such as 018f3c5e-7b1a-7000-8000-000000000001")

// ParseClientID reads the canonical form of a UUID; hexadecimal digits of
// either case are taken.
func ParseClientID(s string) (ClientID, error) {
	var id ClientID
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return id, fmt.Errorf("client id of %d bytes: %w", len(s), errClientID)
	}
	var digits [32]byte
	n := 0
	for i := 0; i < len(s); i++ {
		if i == 8 || i == 13 || i == 18 || i == 23 {
			continue
		}
		digits[n] = s[i]
		n++
	}
	if _, err := hex.Decode(id[:], digits[:]); err != nil {
		return ClientID{}, fmt.Errorf("client id: %w", errClientID)
	}
	return id, nil
}

// DirectID is the id of the conversation between two users, the same from
// either side. Both ids together must fit: see [UserIDBytesMax].
func DirectID(a, b UserID) ConvID {
	if b < a {
		a, b = b, a
	}
	return ConvID("d~" + string(a) + "~" + string(b))
}

// UserIDBytesMax keeps the id of a direct conversation within [IDBytesMax].
const UserIDBytesMax = 30

// ValidUserID reports whether s may be a user id: as [ValidID] with at most
// [UserIDBytesMax] bytes and without '~', which separates users in [DirectID].
func ValidUserID(s string) bool {
	if len(s) > UserIDBytesMax || !ValidID(s) {
		return false
	}
	for i := 0; i < len(s); i++ {
		if s[i] == '~' {
			return false
		}
	}
	return true
}
