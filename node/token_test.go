package node

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestJoinTokenIsShownWhenItWasDrawn: one that the operator gave is not shown, also
// not by a start that goes on with what another began.
func TestJoinTokenIsShownWhenItWasDrawn(t *testing.T) {
	given := strings.Repeat("t", JoinTokenMin)
	tests := []struct {
		name   string
		change func(*Config, string)
		shown  bool
		err    string
	}{
		{"drawn", func(*Config, string) {}, true, ""},
		{"given", func(c *Config, _ string) { c.Cluster.JoinToken = given }, false, ""},
		{"file", func(c *Config, f string) { c.Cluster.JoinTokenFile = f }, false, ""},
		{"empty file", func(c *Config, f string) { c.Cluster.JoinTokenFile = f + ".empty" }, false, "is empty"},
		{"too short", func(c *Config, _ string) { c.Cluster.JoinToken = "short" }, false, "at least"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := valid(t)
			file := filepath.Join(t.TempDir(), "token")
			for name, text := range map[string]string{file: given + "\n", file + ".empty": "\n"} {
				if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			tt.change(&c, file)
			n := bare(t, c)
			p, err := n.planCluster()
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("planCluster = %v, want an error about %q", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !tt.shown && p.Token != given {
				t.Error("the plan has another token")
			}
			check := func(when string) {
				if shown := n.JoinToken() != ""; shown != tt.shown {
					t.Errorf("%s: shown = %v, want %v", when, shown, tt.shown)
				}
			}
			check("at once")
			n.token = ""
			if _, _, err := n.belong(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
			check("after a cut")
		})
	}
}
