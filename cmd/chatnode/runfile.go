package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/chatnode/chatnode/node"
)

// devSecretFile is where dev keeps the secret that it made.
const devSecretFile = node.DevSecretFile

// readRunFile says where the node that runs on a data directory is reached.
func readRunFile(dir string) (node.Running, error) {
	var r node.Running
	b, err := os.ReadFile(filepath.Join(dir, node.RunFile))
	if errors.Is(err, fs.ErrNotExist) {
		return r, fmt.Errorf("no node runs on %s (it has no %s)", dir, node.RunFile)
	}
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return r, fmt.Errorf("%s: %w", node.RunFile, err)
	}
	return r, nil
}
