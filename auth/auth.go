// Package auth turns a bearer token into who is calling.
//
// Tokens are JWTs signed with HS256 by a secret from the configuration. Another
// scheme is another [Scheme]; callers know only [Verifier].
//
// Invariants:
//
//	A1  Every token that does not hold is refused with the same answer,
//	    whatever is wrong with it; the reason is in the wrapped cause only.
//	A2  Only the algorithm of the scheme is accepted, and only tokens with an
//	    end.
//	A3  A verified token is remembered until its end at the longest, and the
//	    memory is bounded, so that a storm of returning clients costs one
//	    verification each.
package auth

import (
	"time"

	"github.com/chatnode/chatnode/chat"
)

// Limits and tolerances.
const (
	TokenBytesMax  = 8 << 10
	SecretBytesMin = 16
	Leeway         = 30 * time.Second // between clocks
)

// Principal is who is calling.
type Principal struct {
	User    chat.UserID
	Device  chat.DeviceID // "" when the token fixes none
	Admin   bool
	Expires time.Time // when it ends; it is taken until Leeway after that
}

// Scheme verifies tokens of one kind. It may be slow; [Verifier] remembers.
type Scheme interface {
	Verify(token string, now time.Time) (Principal, error)
}

// Verifier is what the transports ask. It may be used from many goroutines.
type Verifier struct {
	scheme Scheme
	now    func() time.Time
	cache  cache
}

// NewVerifier makes a verifier over a scheme. now gives the time.
func NewVerifier(s Scheme, now func() time.Time) *Verifier {
	return &Verifier{scheme: s, now: now}
}

// Verify gives the principal of a token, or unauthenticated.
func (v *Verifier) Verify(token string) (Principal, error) {
	if token == "" || len(token) > TokenBytesMax {
		return Principal{}, refuse(nil)
	}
	now := v.now()
	key := keyOf(token)
	if p, ok := v.cache.get(key, now); ok {
		return p, nil
	}
	p, err := v.scheme.Verify(token, now)
	if err != nil {
		return Principal{}, refuse(err)
	}
	if !p.Holds(now) {
		return Principal{}, refuse(nil)
	}
	v.cache.put(key, p, now)
	return p, nil
}

// Holds reports whether the token is still taken, for a login and for what lives
// on from one. It allows for a clock that goes ahead of the issuer's.
func (p Principal) Holds(now time.Time) bool { return now.Before(p.Expires.Add(Leeway)) }

func refuse(cause error) error {
	return chat.E("authenticate", chat.Unauthenticated, "no token, or one that does not hold", cause)
}

// Bearer gives the token of an Authorization header, "" when there is none.
func Bearer(header string) string {
	const scheme = "bearer "
	if len(header) <= len(scheme) {
		return ""
	}
	for i := range len(scheme) {
		c := header[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != scheme[i] {
			return ""
		}
	}
	return header[len(scheme):]
}
