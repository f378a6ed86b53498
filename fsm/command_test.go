package fsm_test

import (
	"bytes"
	"encoding/hex"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/fsm/fsmtest"
	"github.com/chatnode/chatnode/fsm/internal/fsmpb"
)

// golden has every command with every field, and its bytes. The bytes of a
// released level never change.
var golden = []struct {
	name  string
	level fsm.Level
	cmd   fsm.Command
	hex   string
}{
	{"append", fsm.Level1, fsm.Append{
		Conv: "c1", Sender: "ann", Device: "phone", ClientID: fsmtest.ID(fsmtest.Epoch, 1), After: fsmtest.IDv4(2),
		ContentType: "text/plain", Text: "héllo", Direct: "bob",
	}, "0a4d0a0263311203616e6e1a0570686f6e65221001a3185c5000700080000000000000012a10f4000000000040008000000000000002" +
		"320a746578742f706c61696e3a0668c3a96c6c6f4203626f62"},
	{"create", fsm.Level1, fsm.Create{
		Conv: "c1", Kind: chat.Group, Title: "tea", Policy: chat.AllHistory, Creator: "ann", Device: "phone",
		ClientID: fsmtest.ID(fsmtest.Epoch, 1), Members: []chat.Change{{User: "bob", Role: chat.Writer}, {User: "cy", Role: chat.Reader}},
		MembersMax: 300,
	}, "123f0a02633110021a0374656120022a03616e6e320570686f6e653a1001a3185c50007000800000000000000142070a03626f62100242060a026379100148ac02"},
	{"change members", fsm.Level1, fsm.ChangeMembers{
		Conv: "c1", Actor: "ann", Device: "phone", ClientID: fsmtest.ID(fsmtest.Epoch, 3),
		Changes: []chat.Change{{User: "bob", Role: chat.NoRole}, {User: "cy", Role: chat.Owner}},
	}, "1a310a0263311203616e6e1a0570686f6e65221001a3185c5000700080000000000000032a050a03626f622a060a0263791004"},
	{"raise level", fsm.Level1, fsm.RaiseLevel{To: 1}, "c20c020801"},
}

func TestGoldenCommands(t *testing.T) {
	tags := map[fsm.Tag]bool{}
	for _, tt := range golden {
		t.Run(tt.name, func(t *testing.T) {
			tags[tt.cmd.Tag()] = true
			if got := hex.EncodeToString(fsm.Encode(nil, tt.cmd)); got != tt.hex {
				t.Errorf("Encode = %s, want %s", got, tt.hex)
			}
			if got := fsm.LevelOf(tt.cmd.Tag()); got != tt.level {
				t.Errorf("LevelOf = %d, want %d", got, tt.level)
			}
			b, err := hex.DecodeString(tt.hex)
			if err != nil {
				t.Fatal(err)
			}
			got, err := fsm.Decode(b)
			if err != nil {
				t.Fatalf("Decode = %v, want no error", err)
			}
			if diff := cmp.Diff(tt.cmd, got); diff != "" {
				t.Errorf("Decode (-want +got):\n%s", diff)
			}
		})
	}
	for _, tag := range []fsm.Tag{fsm.TagAppend, fsm.TagCreate, fsm.TagChangeMembers, fsm.TagRaiseLevel} {
		if !tags[tag] {
			t.Errorf("tag %d has no golden bytes", tag)
		}
	}
}

// generated is the same command in the generated form.
func generated(c fsm.Command) *fsmpb.Command {
	id := func(id chat.ClientID) []byte {
		if id.IsZero() {
			return nil
		}
		return id[:]
	}
	changes := func(list []chat.Change) (out []*fsmpb.Change) {
		for _, c := range list {
			out = append(out, &fsmpb.Change{User: string(c.User), Role: uint32(c.Role)})
		}
		return out
	}
	switch c := c.(type) {
	case fsm.Append:
		return &fsmpb.Command{Command: &fsmpb.Command_Append{Append: &fsmpb.Append{
			Conv: string(c.Conv), Sender: string(c.Sender), Device: string(c.Device), ClientId: id(c.ClientID), After: id(c.After),
			ContentType: []byte(c.ContentType), Text: []byte(c.Text), Direct: string(c.Direct),
		}}}
	case fsm.Create:
		return &fsmpb.Command{Command: &fsmpb.Command_Create{Create: &fsmpb.Create{
			Conv: string(c.Conv), Kind: uint32(c.Kind), Title: []byte(c.Title), Policy: uint32(c.Policy), Creator: string(c.Creator),
			Device: string(c.Device), ClientId: id(c.ClientID), Members: changes(c.Members), MembersMax: c.MembersMax,
		}}}
	case fsm.ChangeMembers:
		return &fsmpb.Command{Command: &fsmpb.Command_ChangeMembers{ChangeMembers: &fsmpb.ChangeMembers{
			Conv: string(c.Conv), Actor: string(c.Actor), Device: string(c.Device), ClientId: id(c.ClientID), Changes: changes(c.Changes),
		}}}
	case fsm.RaiseLevel:
		return &fsmpb.Command{Command: &fsmpb.Command_RaiseLevel{RaiseLevel: &fsmpb.RaiseLevel{To: uint32(c.To)}}}
	}
	return nil
}

// anyCommand draws a command with any fields set or not.
func anyCommand(r *rand.Rand) fsm.Command {
	str := func() string {
		return strings.Repeat(string(rune('a'+r.IntN(26))), []int{0, 1, 7, 130, 20_000}[r.IntN(5)])
	}
	id := func() chat.ClientID {
		if r.IntN(3) == 0 {
			return chat.ClientID{}
		}
		return fsmtest.ID(r.Int64N(1<<47), r.Uint64())
	}
	changes := func() (out []chat.Change) {
		for range r.IntN(4) {
			out = append(out, chat.Change{User: chat.UserID(str()), Role: chat.Role(r.IntN(256))})
		}
		return out
	}
	switch r.IntN(4) {
	case 0:
		return fsm.Append{
			Conv: chat.ConvID(str()), Sender: chat.UserID(str()), Device: chat.DeviceID(str()), ClientID: id(), After: id(),
			ContentType: str(), Text: str(), Direct: chat.UserID(str()),
		}
	case 1:
		return fsm.Create{
			Conv: chat.ConvID(str()), Kind: chat.Kind(r.IntN(256)), Title: str(), Policy: chat.HistoryPolicy(r.IntN(3)),
			Creator: chat.UserID(str()), Device: chat.DeviceID(str()), ClientID: id(), Members: changes(), MembersMax: r.Uint32N(1 << 20),
		}
	case 2:
		return fsm.ChangeMembers{
			Conv: chat.ConvID(str()), Actor: chat.UserID(str()), Device: chat.DeviceID(str()), ClientID: id(), Changes: changes(),
		}
	default:
		return fsm.RaiseLevel{To: fsm.Level(r.Uint32N(2))}
	}
}

func TestHandWrittenCodecEqualsGenerated(t *testing.T) {
	const seed = 20
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, seed))
	for range 3_000 {
		c := anyCommand(r)
		want, err := proto.MarshalOptions{Deterministic: true}.Marshal(generated(c))
		if err != nil {
			t.Fatal(err)
		}
		got := fsm.Encode([]byte("x"), c)[1:]
		if !bytes.Equal(got, want) {
			t.Fatalf("Encode(%.200v) = %x, want %x", c, got, want)
		}
		back, err := fsm.Decode(want)
		if err != nil {
			t.Fatalf("Decode(%.200v) = %v, want no error", c, err)
		}
		if diff := cmp.Diff(c, back); diff != "" {
			t.Fatalf("Decode (-want +got):\n%.2000s", diff)
		}
		if err := fsm.CheckCommand(want); err != nil {
			t.Fatalf("CheckCommand(%.200v) = %v, want nil", c, err)
		}
		key, err := fsm.KeyOf(want)
		if wantKey := keyOf(c); wantKey != "" && (err != nil || key != wantKey) {
			t.Fatalf("KeyOf(%.200v) = %.100q, %v, want %.100q", c, key, err, wantKey)
		}
	}
}

func keyOf(c fsm.Command) string {
	switch c := c.(type) {
	case fsm.Append:
		return string(c.Conv)
	case fsm.Create:
		return string(c.Conv)
	case fsm.ChangeMembers:
		return string(c.Conv)
	}
	return ""
}

func TestRefusedBeforeTheLog(t *testing.T) {
	ok := fsm.Encode(nil, fsmtest.Send("c1", "ann", fsmtest.IDv4(1), "text"))
	tests := []struct {
		name string
		in   []byte
		want chat.Code
	}{
		{"nothing", nil, chat.Invalid},
		{"a tag without a body", ok[:1], chat.Invalid},
		{"cut short", ok[:len(ok)-1], chat.Invalid},
		{"bytes behind it", append(bytes.Clone(ok), 0), chat.Invalid},
		{"an unknown conversation command", fsm.Wrap(nil, 98, nil), chat.UnknownType},
		{"a meta command", fsm.Wrap(nil, 100, nil), chat.UnknownType},
		{"an unknown field", fsm.Wrap(nil, fsm.TagRaiseLevel, []byte{0x10, 1}), chat.Invalid},
		{"fields out of order", fsm.Wrap(nil, fsm.TagCreate, []byte{0x10, 2, 0x0a, 1, 'c'}), chat.Invalid},
		{"a field twice", fsm.Wrap(nil, fsm.TagRaiseLevel, []byte{0x08, 1, 0x08, 1}), chat.Invalid},
		{"a default written out", fsm.Wrap(nil, fsm.TagRaiseLevel, []byte{0x08, 0}), chat.Invalid},
		{"a long varint", fsm.Wrap(nil, fsm.TagRaiseLevel, []byte{0x08, 0x81, 0}), chat.Invalid},
		{"an id of 15 bytes", fsm.Wrap(nil, fsm.TagAppend, append([]byte{0x22, 15}, make([]byte, 15)...)), chat.Invalid},
		{"a level from the future", fsm.Encode(nil, fsm.RaiseLevel{To: fsm.LevelMax + 1}), chat.UnsupportedVer},
		{"too large", fsm.Wrap(nil, fsm.TagAppend, make([]byte, fsm.CommandBytesMax)), chat.TooLarge},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := chat.CodeOf(fsm.CheckCommand(tt.in)); got != tt.want {
				t.Errorf("CheckCommand = %q, want %q", got, tt.want)
			}
		})
	}
	if _, err := fsm.KeyOf(fsm.Wrap(nil, fsm.TagAppend, []byte{0x12, 1, 'a'})); err == nil {
		t.Error("KeyOf of a command without a conversation succeeded, want an error")
	}
	if key, err := fsm.KeyOf(fsm.Wrap(nil, fsm.TagMetaMin, []byte{1})); key != "" || err != nil {
		t.Errorf("KeyOf of a meta command = %q, %v, want none and no error", key, err)
	}
}

func FuzzCommand(f *testing.F) {
	for _, g := range golden {
		f.Add(fsm.Encode(nil, g.cmd))
	}
	f.Add(fsm.Wrap(nil, fsm.TagAppend, []byte{0x12, 1, 'a', 0x0a, 1, 'b'}))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := fsm.Decode(b)
		raise, _ := c.(fsm.RaiseLevel)
		if allowed := err == nil && raise.To <= fsm.LevelMax; allowed != (fsm.CheckCommand(b) == nil) {
			t.Fatalf("Decode and CheckCommand disagree: %v", err)
		}
		key, keyErr := fsm.KeyOf(b)
		if err != nil {
			return
		}
		if again := fsm.Encode(nil, c); !bytes.Equal(again, b) {
			t.Fatalf("a command has two forms: %x and %x", b, again)
		}
		if want := keyOf(c); want != "" && (keyErr != nil || key != want) {
			t.Fatalf("KeyOf = %q, %v, want %q", key, keyErr, want)
		}
	})
}

func BenchmarkEncodeAppend(b *testing.B) {
	b.ReportAllocs()
	var c fsm.Command = fsmtest.Send("conversation-1", "ann", fsmtest.ID(fsmtest.Epoch, 1), strings.Repeat("x", 256))
	var buf []byte
	for b.Loop() {
		buf = fsm.Encode(buf[:0], c)
	}
}

func BenchmarkCheckAppend(b *testing.B) {
	b.ReportAllocs()
	buf := fsm.Encode(nil, fsmtest.Send("conversation-1", "ann", fsmtest.ID(fsmtest.Epoch, 1), strings.Repeat("x", 256)))
	for b.Loop() {
		if err := fsm.CheckCommand(buf); err != nil {
			b.Fatal(err)
		}
	}
}
