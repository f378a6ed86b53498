package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/chatnode/chatnode/auth"
	"github.com/chatnode/chatnode/chat"
)

// Limits of a caller of the control routes.
const (
	callTimeout      = 20 * time.Second
	answerBytesMax   = 64 << 20
	operatorTokenTTL = 5 * time.Minute
	operatorUser     = "operator"
)

// caller speaks to one node over its client port.
type caller struct {
	base  string // "http://127.0.0.1:7400"
	token string
	http  *http.Client
}

// callerFlags declares how a command finds a node and proves who it is.
func (a *app) callerFlags(fs *pflag.FlagSet) {
	fs.String("addr", "", "client address of a node (default: that of --data-dir, else CHATNODE_ADDR, else http://127.0.0.1:7400)")
	fs.String("token", "", "bearer token (better: CHATNODE_TOKEN, which others cannot see)")
	fs.String("auth-secret-file", "", "file with the secret of the tokens, to make one for this call (or CHATNODE_AUTH_SECRET)")
	fs.String("data-dir", "", "data directory of a node that runs on this machine: gives its address, and the secret of a dev node")
}

// caller gives the node that the flags name, and a token for it: the given
// one, or an operator's of a few minutes.
func (a *app) caller(cmd *cobra.Command) (*caller, error) {
	text := func(name string) string {
		f := cmd.Flags().Lookup(name)
		if f == nil {
			return ""
		}
		return f.Value.String()
	}
	base, err := a.baseURL(text("addr"), text("data-dir"))
	if err != nil {
		return nil, err
	}
	c := &caller{base: base, token: a.givenToken(text("token"), text("auth-secret-file")), http: &http.Client{Timeout: callTimeout}}
	if c.token == "" {
		scheme, err := a.scheme(text("auth-secret-file"), text("data-dir"))
		if err != nil {
			return nil, err
		}
		p := auth.Principal{User: operatorUser, Admin: true}
		if c.token, err = scheme.Mint(p, time.Now(), operatorTokenTTL); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// givenToken is the token that the caller has, "" when one is to be made: a secret
// named by a flag goes before a token of the environment.
func (a *app) givenToken(token, secretFile string) string {
	if token != "" || secretFile != "" {
		return token
	}
	return a.env("CHATNODE_TOKEN")
}

// baseURL finds the node's address; a flag goes before the environment.
func (a *app) baseURL(addr, dataDir string) (string, error) {
	switch {
	case addr != "":
	case dataDir != "":
		running, err := readRunFile(dataDir)
		if err != nil {
			return "", err
		}
		addr = running.URL
	default:
		addr = first(a.env("CHATNODE_ADDR"), "127.0.0.1:7400")
	}
	if !strings.Contains(addr, "://") {
		addr = "http://" + addr
	}
	u, err := url.Parse(addr)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", fmt.Errorf("--addr: %q is not http://HOST:PORT or https://HOST:PORT", addr)
	}
	return u.Scheme + "://" + u.Host, nil
}

// scheme makes tokens with the secret that the caller names.
func (a *app) scheme(file, dataDir string) (*auth.HS256, error) {
	secret := a.env("CHATNODE_AUTH_SECRET")
	if file == "" && secret == "" {
		file = a.env("CHATNODE_AUTH_SECRET_FILE")
	}
	if file == "" && secret == "" && dataDir != "" {
		file = filepath.Join(dataDir, devSecretFile)
	}
	switch {
	case file != "":
		b, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("secret: %w", err)
		}
		secret = strings.TrimSpace(string(b))
	case secret == "":
		return nil, errors.New("who are you? give --auth-secret-file, --token, or --data-dir of a dev node")
	}
	return auth.NewHS256([]byte(secret), a.env("CHATNODE_AUTH_AUDIENCE"))
}

// get fetches path into the answer.
func (c *caller) get(ctx context.Context, path string, into any) error {
	return c.do(ctx, http.MethodGet, path, nil, into)
}

func (c *caller) do(ctx context.Context, method, path string, body, into any) error {
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		in = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, in)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		return chat.E("ask "+c.base, chat.Unavailable, "the node does not answer: does it run, and is this its client address?", err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, answerBytesMax))
	if err != nil {
		return chat.E("ask "+c.base, chat.Unavailable, "the answer broke off", err)
	}
	if resp.StatusCode/100 != 2 {
		return problem(c.base, resp.StatusCode, b)
	}
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(b, into); err != nil {
		return fmt.Errorf("the answer of %s is not understood: %w", c.base, err)
	}
	return nil
}

// problem turns a problem+json answer back into the error that it was.
func problem(base string, status int, body []byte) error {
	var p struct {
		Code   chat.Code `json:"code"`
		Detail string    `json:"detail"`
	}
	if json.Unmarshal(body, &p) != nil || p.Code == "" {
		return fmt.Errorf("%s answered %d: %.200s", base, status, body)
	}
	return chat.E("ask "+base, p.Code, p.Detail, nil)
}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}
