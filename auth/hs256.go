package auth

import (
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/chatnode/chatnode/chat"
)

// HS256 is the scheme of tokens signed with a shared secret.
type HS256 struct {
	secret   []byte
	audience string
}

// NewHS256 makes the scheme. With an audience, tokens must name it.
func NewHS256(secret []byte, audience string) (*HS256, error) {
	if len(secret) < SecretBytesMin {
		return nil, fmt.Errorf("auth secret: %d bytes, want at least %d", len(secret), SecretBytesMin)
	}
	return &HS256{secret: append([]byte(nil), secret...), audience: audience}, nil
}

type claims struct {
	jwt.RegisteredClaims
	Device string `json:"dev,omitempty"`
	Scope  string `json:"scope,omitempty"`
}

var (
	errUser   = errors.New("sub is no user id")
	errDevice = errors.New("dev is no device id")
	errScope  = errors.New("scope is not known")
	errCrit   = errors.New("crit names an extension that is not known")
)

// scopeAdmin opens the control routes.
const scopeAdmin = "admin"

// Verify implements [Scheme].
func (s *HS256) Verify(token string, now time.Time) (Principal, error) {
	options := []jwt.ParserOption{
		jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}),
		jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithLeeway(Leeway),
		jwt.WithTimeFunc(func() time.Time { return now }),
		jwt.WithStrictDecoding(),
	}
	if s.audience != "" {
		options = append(options, jwt.WithAudience(s.audience))
	}
	var c claims
	parsed, err := jwt.NewParser(options...).ParseWithClaims(token, &c, func(*jwt.Token) (any, error) { return s.secret, nil })
	if err != nil {
		return Principal{}, fmt.Errorf("token: %w", err)
	}
	if _, ok := parsed.Header["crit"]; ok {
		return Principal{}, errCrit
	}
	switch {
	case !chat.ValidUserID(c.Subject):
		return Principal{}, errUser
	case c.Device != "" && !chat.ValidID(c.Device):
		return Principal{}, errDevice
	case c.Scope != "" && c.Scope != scopeAdmin:
		return Principal{}, errScope
	}
	return Principal{
		User: chat.UserID(c.Subject), Device: chat.DeviceID(c.Device), Admin: c.Scope == scopeAdmin,
		Expires: c.ExpiresAt.Time,
	}, nil
}

// Mint makes a token for p that holds from now for ttl. It checks nothing but
// what Verify would refuse.
func (s *HS256) Mint(p Principal, now time.Time, ttl time.Duration) (string, error) {
	if !chat.ValidUserID(string(p.User)) {
		return "", chat.E("mint", chat.Invalid, "a user id is 1 to 30 of A-Z a-z 0-9 - _ . : @ +", errUser)
	}
	if p.Device != "" && !chat.ValidID(string(p.Device)) {
		return "", chat.E("mint", chat.Invalid, "a device id is 1 to 64 of A-Z a-z 0-9 - _ . : @ ~ +", errDevice)
	}
	if ttl <= 0 {
		return "", chat.E("mint", chat.Invalid, "a token must hold for some time", nil)
	}
	c := claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Subject: string(p.User), IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(ttl)),
		},
		Device: string(p.Device),
	}
	if s.audience != "" {
		c.Audience = jwt.ClaimStrings{s.audience}
	}
	if p.Admin {
		c.Scope = scopeAdmin
	}
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, c).SignedString(s.secret)
	if err != nil {
		return "", fmt.Errorf("sign the token: %w", err)
	}
	return token, nil
}
