package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/chatnode/chatnode/node"
)

// TestFlagsGoBeforeTheEnvironment: who names a directory or a secret means them.
func TestFlagsGoBeforeTheEnvironment(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, node.RunFile), []byte(`{"url": "http://of-the-directory:1"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	a := &app{environ: []string{"CHATNODE_ADDR=of-the-environment:1", "CHATNODE_TOKEN=env"}}
	for _, tt := range []struct{ addr, dir, want string }{
		{"", "", "http://of-the-environment:1"},
		{"", dir, "http://of-the-directory:1"},
		{"of-the-flag:1", dir, "http://of-the-flag:1"},
	} {
		if got, err := a.baseURL(tt.addr, tt.dir); err != nil || got != tt.want {
			t.Errorf("baseURL(%q, %q) = %q, %v, want %q", tt.addr, tt.dir, got, err, tt.want)
		}
	}
	for _, tt := range []struct{ token, file, want string }{
		{"", "", "env"}, {"flag", "", "flag"}, {"flag", "file", "flag"}, {"", "file", ""},
	} {
		if got := a.givenToken(tt.token, tt.file); got != tt.want {
			t.Errorf("givenToken(%q, %q) = %q, want %q", tt.token, tt.file, got, tt.want)
		}
	}
}
