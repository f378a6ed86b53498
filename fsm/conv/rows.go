package conv

import (
	"encoding/binary"
	"math"
	"math/bits"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/merkle"
)

const opRow = "read conversation"

// convRow is the row of a conversation: what changes seldom.
type convRow struct {
	id         chat.ConvID
	kind       chat.Kind
	policy     chat.HistoryPolicy
	membersMax uint32
	members    int
	owners     int
	refusers   int // users with a row of refusals
	title      string
}

// id str8 ‖ kind u8 ‖ policy u8 ‖ members_max uvarint ‖ members uvarint ‖
// owners uvarint ‖ title str ‖ refusers uvarint.
func (c *convRow) append(dst []byte) []byte {
	dst = appendStr8(dst, c.id)
	dst = append(dst, byte(c.kind), byte(c.policy))
	dst = binary.AppendUvarint(dst, uint64(c.membersMax))
	dst = binary.AppendUvarint(dst, uint64(c.members))
	dst = binary.AppendUvarint(dst, uint64(c.owners))
	dst = appendStr(dst, c.title)
	return binary.AppendUvarint(dst, uint64(c.refusers))
}

func decodeConvRow(b []byte) (convRow, error) {
	c := cursor[[]byte]{b: b}
	row := convRow{id: chat.ConvID(c.str8()), kind: chat.Kind(c.u8()), policy: chat.HistoryPolicy(c.u8())}
	row.membersMax = uint32(c.count(math.MaxUint32))
	row.members = c.count(chat.ChannelMembersMax)
	row.owners = c.count(chat.ChannelMembersMax)
	row.title = string(c.str(chat.TitleBytesMax))
	if len(c.b) > 0 { // rows of before refusals were kept end here
		row.refusers = c.count(RefusersMax)
	}
	if c.bad || len(c.b) != 0 {
		return row, corrupt(opRow, "the row of a conversation is malformed")
	}
	return row, nil
}

// memberRow is what a conversation knows of a user who is or was a member.
type memberRow struct {
	role      chat.Role
	seq       chat.Seq // of the newest entry about this user
	intervals []Interval
}

// role u8 ‖ seq uvarint ‖ count uvarint ‖ count × { from uvarint ‖ to uvarint }.
func (m *memberRow) append(dst []byte) []byte {
	dst = append(dst, byte(m.role))
	dst = binary.AppendUvarint(dst, uint64(m.seq))
	dst = binary.AppendUvarint(dst, uint64(len(m.intervals)))
	for _, i := range m.intervals {
		dst = binary.AppendUvarint(dst, uint64(i.From))
		dst = binary.AppendUvarint(dst, uint64(i.To))
	}
	return dst
}

func decodeMemberRow(b []byte) (memberRow, error) {
	c := cursor[[]byte]{b: b}
	row := memberRow{role: chat.Role(c.u8()), seq: chat.Seq(c.uvarint())}
	for range c.count(chat.RejoinsMax) {
		row.intervals = append(row.intervals, Interval{From: chat.Seq(c.uvarint()), To: chat.Seq(c.uvarint())})
	}
	if c.bad || len(c.b) != 0 {
		return row, corrupt(opRow, "the row of a member is malformed")
	}
	return row, nil
}

// A stored entry row is form u8 ‖ entry ‖ [checkpoint] ‖ checksum.
const (
	formPlain      byte = 0
	formCheckpoint byte = 1 // every checkpointEvery-th entry
)

// checkpointEvery is the number of entries from one checkpoint to the next. It is
// also the number of leaves of the smallest Merkle nodes that are stored.
const (
	checkpointEvery = 1 << nodeLevel
	nodeLevel       = 4
)

// checkpoint is what an entry row carries besides its entry at each multiple of
// checkpointEvery, so that the state behind a conversation's end is found by
// reading at most that many rows.
type checkpoint struct {
	nodes     []merkle.Hash // completed by this entry, of the levels nodeLevel, nodeLevel+1, …
	peaks     []merkle.Hash // of the tree with this entry, without the last, which is the last of nodes
	idTimeMax int64         // the newest time in any UUIDv7 client id so far
	keptSeq   chat.Seq      // ids of entries below are forgotten
	keptTime  int64         // the time of the entry keptSeq
}

// nodes and peaks as u8 count ‖ count × 32, then three uvarints.
func (p *checkpoint) append(dst []byte) []byte {
	for _, list := range [2][]merkle.Hash{p.nodes, p.peaks} {
		dst = append(dst, byte(len(list)))
		for i := range list {
			dst = append(dst, list[i][:]...)
		}
	}
	dst = binary.AppendUvarint(dst, uint64(p.idTimeMax))
	dst = binary.AppendUvarint(dst, uint64(p.keptSeq))
	return binary.AppendUvarint(dst, uint64(p.keptTime))
}

// decodeCheckpoint reads the checkpoint of the entry seq.
func decodeCheckpoint(c *cursor[[]byte], seq chat.Seq) (p checkpoint) {
	nodes := bits.TrailingZeros64(uint64(seq)) - nodeLevel + 1
	peaks := bits.OnesCount64(uint64(seq)) - 1
	p.nodes = hashes(c, nodes)
	p.peaks = hashes(c, peaks)
	p.idTimeMax = int64(c.uvarint())
	p.keptSeq, p.keptTime = chat.Seq(c.uvarint()), int64(c.uvarint())
	return p
}

func hashes(c *cursor[[]byte], want int) []merkle.Hash {
	if int(c.u8()) != want || want < 0 {
		c.bad = true
	}
	raw := c.take(want * len(merkle.Hash{}))
	if c.bad {
		return nil
	}
	list := make([]merkle.Hash, want, want+1)
	for i := range list {
		list[i] = merkle.Hash(raw[i*len(merkle.Hash{}):])
	}
	return list
}

// openEntry verifies an entry row and returns a cursor at its entry.
func openEntry(key, val []byte) (seq chat.Seq, form byte, c cursor[[]byte], err error) {
	seq, ok := seqOf(key)
	body, err := fsm.Open(key, val)
	if err != nil {
		return seq, 0, c, err
	}
	if !ok || len(body) == 0 || body[0] > formCheckpoint ||
		(body[0] == formCheckpoint) != (seq%checkpointEvery == 0) {
		return seq, 0, c, corrupt(opRow, "the row of an entry is malformed")
	}
	return seq, body[0], cursor[[]byte]{b: body[1:]}, nil
}
