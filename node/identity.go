package node

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/chatnode/chatnode/auth"
	"github.com/chatnode/chatnode/chat"
)

// pendingFile keeps a bootstrap that has begun, until it is done: a crash in
// between goes on with the same cluster and the same token.
const pendingFile = "bootstrap.pending"

// pending is the content of [pendingFile].
type pending struct {
	Cluster string `json:"cluster"`
	Groups  int    `json:"groups"`
	Token   string `json:"token"`
	Given   bool   `json:"given,omitempty"` // by the operator, who has it
}

// JoinTokenMin is the least length of a join token; it must be random.
const JoinTokenMin = 16

// randomHex gives 2n random hexadecimal digits.
func randomHex(n int) string {
	b := make([]byte, n)
	if _, err := rand.Read(b); err != nil {
		panic(err) // never: crypto/rand ends the process when the system gives nothing
	}
	return hex.EncodeToString(b)
}

// secretFor gives the secret that signs tokens. dev makes one where there is
// none, and keeps it.
func secretFor(c Config, dev bool) (secret, file string, err error) {
	secret, err = c.Auth.secret()
	if err != nil {
		return "", "", err
	}
	file = c.Auth.SecretFile
	if secret == "" && dev {
		file = filepath.Join(c.DataDir, DevSecretFile)
		if secret, err = devSecret(file); err != nil {
			return "", "", err
		}
	}
	switch {
	case secret == "":
		return "", "", errors.New("auth.secret: without a secret nobody can prove who they are: give --auth-secret-file (head -c 32 /dev/urandom | base64 > FILE), or try chatnode dev")
	case len(secret) < auth.SecretBytesMin:
		return "", "", fmt.Errorf("auth.secret: %d bytes, want at least %d", len(secret), auth.SecretBytesMin)
	}
	return secret, file, nil
}

func devSecret(file string) (string, error) {
	b, err := os.ReadFile(file)
	if err == nil {
		return strings.TrimSpace(string(b)), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("secret of dev: %w", err)
	}
	secret := randomHex(32)
	return secret, writeNew(file, []byte(secret+"\n"))
}

// incarnation tells this directory from any other one that a node of the same
// id ever had.
func incarnation(dir string) (id [16]byte, err error) {
	file := filepath.Join(dir, incarnationFile)
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		b = []byte(randomHex(len(id)))
		err = writeNew(file, append(b, '\n'))
	}
	if err != nil {
		return id, fmt.Errorf("incarnation: %w", err)
	}
	if n, err := hex.Decode(id[:], []byte(strings.TrimSpace(string(b)))); err != nil || n != len(id) {
		return id, chat.E("read "+file, chat.Corrupt, "the file is damaged: join again with an empty data directory and a new node id", err)
	}
	return id, nil
}

// writeNew writes a small file durably, so that it is there as a whole or not
// at all.
func writeNew(file string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(file+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(file+".new", file); err != nil {
		return err
	}
	return syncDir(filepath.Dir(file))
}

// removeDurably removes a file so that it does not come back with a power cut.
func removeDurably(file string) error {
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return syncDir(filepath.Dir(file))
}

// syncDir makes the names in a directory durable.
func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func readPending(dir string) (p pending, ok bool, err error) {
	b, err := os.ReadFile(filepath.Join(dir, pendingFile))
	if errors.Is(err, fs.ErrNotExist) {
		return p, false, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &p)
	}
	if err != nil {
		return p, false, fmt.Errorf("%s: %w", pendingFile, err)
	}
	return p, true, nil
}

func writePending(dir string, p pending) error {
	b, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return writeNew(filepath.Join(dir, pendingFile), b)
}
