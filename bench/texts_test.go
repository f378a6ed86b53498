package bench

import (
	"math/rand/v2"
	"testing"
	"unicode/utf8"

	"github.com/chatnode/chatnode/chat"
)

// Every size that a workload takes makes messages that a node takes.
func TestTexts(t *testing.T) {
	for _, n := range []int{1, 100, 256, 8 << 10, chat.TextRunesMax, chat.TextRunesMax + 1, 200_000, 400_000, chat.TextBytesMax} {
		for _, s := range texts(rand.New(rand.NewPCG(1, 1)), n) {
			if len(s) != textBytes(n) || utf8.RuneCountInString(s) > chat.TextRunesMax || !utf8.ValidString(s) {
				t.Fatalf("%d: %d bytes, %d characters", n, len(s), utf8.RuneCountInString(s))
			}
		}
	}
}
