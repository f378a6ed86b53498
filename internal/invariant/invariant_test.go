package invariant_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/chatnode/chatnode/internal/invariant"
)

func TestBrokenNamesItsValues(t *testing.T) {
	tests := []struct {
		name string
		args []any
		want string
	}{
		{"no values", nil, "invariant broken: seq is dense"},
		{"pairs", []any{"got", 3, "want", 2}, "invariant broken: seq is dense got=3 want=2"},
		{"a key without a value", []any{"got"}, "invariant broken: seq is dense got"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := invariant.Broken("seq is dense", tt.args...).Error(); got != tt.want {
				t.Errorf("Broken = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestBrokenIsFoundThroughWrapping(t *testing.T) {
	err := fmt.Errorf("apply: %w", invariant.Broken("seq is dense"))
	if _, ok := errors.AsType[*invariant.Error](err); !ok {
		t.Fatalf("%v is no invariant.Error, want one", err)
	}
}
