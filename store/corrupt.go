package store

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// Corrupt makes an error that says what is damaged and is [ErrCorrupt].
func Corrupt(what string, cause error) error { return corrupt(what, cause) }

func corrupt(what string, cause error) error {
	if cause != nil {
		return fmt.Errorf("%s: %w: %w", what, ErrCorrupt, cause)
	}
	return fmt.Errorf("%s: %w", what, ErrCorrupt)
}

// readError gives a Pebble error of a read its meaning.
func readError(op string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, pebble.ErrNotFound):
		return ErrNotFound
	case pebble.IsCorruptionError(err):
		return corrupt(op, err)
	}
	return fmt.Errorf("%s: %w", op, err)
}
