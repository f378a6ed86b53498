package auth_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/chatnode/chatnode/auth"
	"github.com/chatnode/chatnode/chat"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	secret = []byte("a secret of more than 16 bytes")
	at     = time.Unix(1_760_000_000, 0)
)

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

func signed(header, payload string, key []byte) string {
	text := b64(header) + "." + b64(payload)
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(text))
	return text + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

const hs256 = `{"alg":"HS256","typ":"JWT"}`

func verifier(t *testing.T, audience string) (*auth.Verifier, *auth.HS256) {
	t.Helper()
	s, err := auth.NewHS256(secret, audience)
	if err != nil {
		t.Fatal(err)
	}
	return auth.NewVerifier(s, func() time.Time { return at }), s
}

func TestMintedTokensHold(t *testing.T) {
	for _, audience := range []string{"", "chatnode"} {
		v, s := verifier(t, audience)
		want := auth.Principal{User: "ann", Device: "phone", Admin: true}
		token, err := s.Mint(want, at, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		want.Expires = at.Add(time.Hour)
		for range 2 { // the second time from memory
			got, err := v.Verify(token)
			if err != nil || !got.Expires.Equal(want.Expires) {
				t.Fatalf("Verify = %+v, %v, want %+v", got, err, want)
			}
			got.Expires = want.Expires
			if got != want {
				t.Errorf("Verify = %+v, want %+v", got, want)
			}
		}
	}
}

func TestMintRefusesWhatWouldNotHold(t *testing.T) {
	_, s := verifier(t, "")
	for _, p := range []auth.Principal{{User: ""}, {User: "a b"}, {User: "a~b"}, {User: "ann", Device: "x/y"}} {
		if _, err := s.Mint(p, at, time.Hour); chat.CodeOf(err) != chat.Invalid {
			t.Errorf("Mint(%+v) = %v, want invalid", p, err)
		}
	}
	if _, err := s.Mint(auth.Principal{User: "ann"}, at, 0); chat.CodeOf(err) != chat.Invalid {
		t.Errorf("Mint without a time to hold = %v, want invalid", err)
	}
}

func TestShortSecretsAreRefused(t *testing.T) {
	if _, err := auth.NewHS256([]byte("short"), ""); err == nil {
		t.Error("a secret of 5 bytes was taken")
	}
}

func TestBadTokensAreRefusedAlike(t *testing.T) {
	good := signed(hs256, `{"sub":"ann","exp":1760000100,"aud":"chatnode"}`, secret)
	parts := strings.Split(good, ".")
	tests := map[string]string{
		"empty":                   "",
		"one part":                "abc",
		"two parts":               parts[0] + "." + parts[1],
		"four parts":              good + ".x",
		"only dots":               "..",
		"no signature":            parts[0] + "." + parts[1] + ".",
		"no header":               "." + parts[1] + "." + parts[2],
		"no payload":              parts[0] + ".." + parts[2],
		"signature of another":    parts[0] + "." + parts[1] + "." + b64("0123456789abcdef0123456789abcdef"),
		"signature cut":           good[:len(good)-4],
		"signature not base64":    parts[0] + "." + parts[1] + ".***",
		"padded base64":           good + "=",
		"payload changed":         parts[0] + "." + b64(`{"sub":"bob","exp":1760000100,"aud":"chatnode"}`) + "." + parts[2],
		"header changed":          b64(`{"alg":"HS256"}`) + "." + parts[1] + "." + parts[2],
		"other secret":            signed(hs256, `{"sub":"ann","exp":1760000100,"aud":"chatnode"}`, []byte("another secret of 16 bytes")),
		"empty secret":            signed(hs256, `{"sub":"ann","exp":1760000100,"aud":"chatnode"}`, nil),
		"alg none":                b64(`{"alg":"none"}`) + "." + parts[1] + ".",
		"alg None signed":         signed(`{"alg":"None"}`, `{"sub":"ann","exp":1760000100,"aud":"chatnode"}`, secret),
		"alg HS384":               signed(`{"alg":"HS384"}`, `{"sub":"ann","exp":1760000100,"aud":"chatnode"}`, secret),
		"alg HS512":               signed(`{"alg":"HS512"}`, `{"sub":"ann","exp":1760000100,"aud":"chatnode"}`, secret),
		"alg RS256":               signed(`{"alg":"RS256"}`, `{"sub":"ann","exp":1760000100,"aud":"chatnode"}`, secret),
		"alg lower case":          signed(`{"alg":"hs256"}`, `{"sub":"ann","exp":1760000100,"aud":"chatnode"}`, secret),
		"alg a number":            signed(`{"alg":256}`, `{"sub":"ann","exp":1760000100,"aud":"chatnode"}`, secret),
		"no alg":                  signed(`{}`, `{"sub":"ann","exp":1760000100,"aud":"chatnode"}`, secret),
		"header not JSON":         signed(`alg`, `{"sub":"ann","exp":1760000100,"aud":"chatnode"}`, secret),
		"critical extension":      signed(`{"alg":"HS256","crit":["b64"]}`, `{"sub":"ann","exp":1760000100,"aud":"chatnode"}`, secret),
		"payload not JSON":        signed(hs256, `sub`, secret),
		"payload an array":        signed(hs256, `[]`, secret),
		"payload null":            signed(hs256, `null`, secret),
		"expired":                 signed(hs256, `{"sub":"ann","exp":1759999969,"aud":"chatnode"}`, secret),
		"expired long ago":        signed(hs256, `{"sub":"ann","exp":1,"aud":"chatnode"}`, secret),
		"no exp":                  signed(hs256, `{"sub":"ann","aud":"chatnode"}`, secret),
		"exp null":                signed(hs256, `{"sub":"ann","exp":null,"aud":"chatnode"}`, secret),
		"exp negative":            signed(hs256, `{"sub":"ann","exp":-1,"aud":"chatnode"}`, secret),
		"not yet":                 signed(hs256, `{"sub":"ann","exp":1760000100,"nbf":1760000031,"aud":"chatnode"}`, secret),
		"issued in the future":    signed(hs256, `{"sub":"ann","exp":1760000100,"iat":1760000031,"aud":"chatnode"}`, secret),
		"no aud":                  signed(hs256, `{"sub":"ann","exp":1760000100}`, secret),
		"aud of another":          signed(hs256, `{"sub":"ann","exp":1760000100,"aud":"mailnode"}`, secret),
		"no sub":                  signed(hs256, `{"exp":1760000100,"aud":"chatnode"}`, secret),
		"sub empty":               signed(hs256, `{"sub":"","exp":1760000100,"aud":"chatnode"}`, secret),
		"sub a number":            signed(hs256, `{"sub":7,"exp":1760000100,"aud":"chatnode"}`, secret),
		"sub with a space":        signed(hs256, `{"sub":"a b","exp":1760000100,"aud":"chatnode"}`, secret),
		"sub with a tilde":        signed(hs256, `{"sub":"a~b","exp":1760000100,"aud":"chatnode"}`, secret),
		"sub too long":            signed(hs256, `{"sub":"`+strings.Repeat("a", 31)+`","exp":1760000100,"aud":"chatnode"}`, secret),
		"dev malformed":           signed(hs256, `{"sub":"ann","dev":"a/b","exp":1760000100,"aud":"chatnode"}`, secret),
		"scope unknown":           signed(hs256, `{"sub":"ann","scope":"root","exp":1760000100,"aud":"chatnode"}`, secret),
		"over the limit of bytes": signed(hs256, `{"sub":"ann","exp":1760000100,"aud":"chatnode","x":"`+strings.Repeat("x", auth.TokenBytesMax)+`"}`, secret),
	}
	v, _ := verifier(t, "chatnode")
	if _, err := v.Verify(good); err != nil {
		t.Fatalf("the good one is refused: %v", err)
	}
	for name, token := range tests {
		t.Run(name, func(t *testing.T) {
			p, err := v.Verify(token)
			var e *chat.Error
			if !errors.As(err, &e) {
				t.Fatalf("Verify = %+v, %v, want a refusal", p, err)
			}
			if e.Code != chat.Unauthenticated || e.Msg != "no token, or one that does not hold" || p != (auth.Principal{}) {
				t.Errorf("Verify = %+v, %v, want the one refusal", p, e)
			}
		})
	}
}

type counting struct {
	calls   atomic.Int64
	expires time.Time
}

func (c *counting) Verify(string, time.Time) (auth.Principal, error) {
	c.calls.Add(1)
	return auth.Principal{User: "ann", Expires: c.expires}, nil
}

func TestATokenIsRememberedUntilItEnds(t *testing.T) {
	now := at
	s := &counting{expires: at.Add(time.Minute)}
	v := auth.NewVerifier(s, func() time.Time { return now })
	for range 10 {
		if _, err := v.Verify("token"); err != nil {
			t.Fatal(err)
		}
	}
	if n := s.calls.Load(); n != 1 {
		t.Errorf("verified %d times, want once", n)
	}
	now = at.Add(time.Minute + auth.Leeway)
	if _, err := v.Verify("token"); chat.CodeOf(err) != chat.Unauthenticated {
		t.Errorf("after its end: %v, want unauthenticated", err)
	}
}

func TestBearer(t *testing.T) {
	for header, want := range map[string]string{
		"Bearer abc": "abc", "bearer abc": "abc", "BEARER a": "a", "": "", "Bearer ": "", "Basic abc": "", "Bearerabc": "",
	} {
		if got := auth.Bearer(header); got != want {
			t.Errorf("Bearer(%q) = %q, want %q", header, got, want)
		}
	}
}

func FuzzVerify(f *testing.F) {
	f.Add(signed(hs256, `{"sub":"ann","exp":1760000100}`, secret))
	f.Add("a.b.c")
	s, err := auth.NewHS256(secret, "")
	if err != nil {
		f.Fatal(err)
	}
	v := auth.NewVerifier(s, func() time.Time { return at })
	f.Fuzz(func(t *testing.T, token string) {
		p, err := v.Verify(token)
		if err == nil && (!chat.ValidUserID(string(p.User)) || !at.Before(p.Expires.Add(auth.Leeway))) {
			t.Errorf("Verify(%q) = %+v", token, p)
		}
		if err != nil && chat.CodeOf(err) != chat.Unauthenticated {
			t.Errorf("Verify(%q) = %v, want unauthenticated", token, err)
		}
	})
}

func BenchmarkVerifyRemembered(b *testing.B) {
	s, err := auth.NewHS256(secret, "")
	if err != nil {
		b.Fatal(err)
	}
	v := auth.NewVerifier(s, func() time.Time { return at })
	token := signed(hs256, `{"sub":"ann","exp":1760000100}`, secret)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Verify(token); err != nil {
			b.Fatal(err)
		}
	}
}
