package ws_test

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/chatnode/chatnode/session/sessiontest"
)

// raw is a WebSocket spoken by hand, to say what no library would.
type raw struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
}

func (n *node) raw(t *testing.T) *raw {
	t.Helper()
	conn, err := net.Dial("tcp", n.http.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(sessiontest.Wait)); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "GET /v1/ws HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	// The key and the answer are those of RFC 6455, section 1.3.
	if resp.StatusCode != 101 || resp.Header.Get("Sec-Websocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		t.Fatalf("upgrade got %d, %v", resp.StatusCode, resp.Header)
	}
	return &raw{t: t, conn: conn, r: r}
}

// frame makes a masked client frame; first is its first byte.
func frame(first byte, payload string) []byte {
	b := []byte{first}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = append(b, 0x80|126)
		b = binary.BigEndian.AppendUint16(b, uint16(n))
	default:
		b = append(b, 0x80|127)
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	mask := [4]byte{0x12, 0x34, 0x56, 0x78}
	b = append(b, mask[:]...)
	for i := range len(payload) {
		b = append(b, payload[i]^mask[i&3])
	}
	return b
}

// next reads one frame of the server.
func (w *raw) next() (op byte, payload []byte, err error) {
	var head [2]byte
	if _, err := io.ReadFull(w.r, head[:]); err != nil {
		return 0, nil, err
	}
	size := uint64(head[1] & 0x7f)
	switch size {
	case 126:
		var n [2]byte
		_, err = io.ReadFull(w.r, n[:])
		size = uint64(binary.BigEndian.Uint16(n[:]))
	case 127:
		var n [8]byte
		_, err = io.ReadFull(w.r, n[:])
		size = binary.BigEndian.Uint64(n[:])
	}
	if err != nil || head[1]&0x80 != 0 {
		return 0, nil, errors.Join(err, errors.New("a masked or broken frame"))
	}
	payload = make([]byte, size)
	_, err = io.ReadFull(w.r, payload)
	return head[0] & 0x0f, payload, err
}

// closeCode reads on to the close frame; 0 is an end without one.
func (w *raw) closeCode() int {
	w.t.Helper()
	for {
		op, payload, err := w.next()
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			w.t.Fatal("the connection did not end")
		case err != nil:
			return 0
		case op == 8 && len(payload) < 2:
			return 1005
		case op == 8:
			return int(binary.BigEndian.Uint16(payload))
		}
	}
}

const hello = `{"type":"hello","ref":1,"token":"ann"}`

func TestFramesOfRFC6455(t *testing.T) {
	n := start(t, nil)
	text := byte(0x81)
	tests := []struct {
		name string
		send [][]byte
		want int
	}{
		{"reserved opcode 3", [][]byte{frame(0x83, "")}, 1002},
		{"reserved opcode 7", [][]byte{frame(0x87, "x")}, 1002},
		{"reserved control opcode 11", [][]byte{frame(0x8B, "")}, 1002},
		{"RSV1", [][]byte{frame(text|0x40, "x")}, 1002},
		{"RSV2", [][]byte{frame(text|0x20, "x")}, 1002},
		{"RSV3", [][]byte{frame(text|0x10, "x")}, 1002},
		{"unmasked", [][]byte{{0x81, 1, 'x'}}, 1002},
		{"fragmented ping", [][]byte{frame(0x09, "x")}, 1002},
		{"fragmented close", [][]byte{frame(0x08, "")}, 1002},
		{"ping over 125 bytes", [][]byte{frame(0x89, string(make([]byte, 126)))}, 1002},
		{"continuation of nothing", [][]byte{frame(0x80, "x")}, 1002},
		{"text within a text", [][]byte{frame(0x01, "a"), frame(text, "b")}, 1002},
		{"close with half a code", [][]byte{frame(0x88, "\x03")}, 1005}, // taken for none
		{"close with a code of nobody", [][]byte{frame(0x88, "\x03\xed")}, 1002},
		{"close with a bad reason", [][]byte{frame(0x88, "\x03\xe8\xff")}, 1002},
		{"close", [][]byte{frame(0x88, "\x03\xe8bye")}, 1000},
		{"close without a code", [][]byte{frame(0x88, "")}, 1005},
		{"text not UTF-8", [][]byte{frame(text, "\xc3\x28")}, 1007},
		{"text cut in a character", [][]byte{frame(text, "\xe4\xb8")}, 1007},
		{"text of half surrogates", [][]byte{frame(text, "\xed\xa0\x80")}, 1007},
		{"over the limit", [][]byte{frame(text, string(make([]byte, 512<<10+1)))[:64]}, 1009},
		{"fragments over the limit", [][]byte{frame(0x01, string(make([]byte, 300<<10))), frame(0x80, string(make([]byte, 300<<10)))[:64]}, 1009},
		{"length with the highest bit", [][]byte{{0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 1, 1, 2, 3, 4}}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := n.raw(t)
			for _, b := range tt.send {
				if _, err := w.conn.Write(b); err != nil {
					t.Fatal(err)
				}
			}
			if got := w.closeCode(); got != tt.want {
				t.Errorf("closed with %d, want %d", got, tt.want)
			}
		})
	}
}

func TestFragmentsAndPings(t *testing.T) {
	n := start(t, nil)
	w := n.raw(t)
	for _, b := range [][]byte{
		frame(0x01, hello[:5]), frame(0x89, "are you there"), frame(0x00, hello[5:9]), frame(0x00, ""), frame(0x80, hello[9:]),
		frame(0x8A, "a pong nobody asked for"),
	} {
		if _, err := w.conn.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	pong, welcome := false, false
	for !pong || !welcome {
		op, payload, err := w.next()
		if err != nil {
			t.Fatal(err)
		}
		pong = pong || op == 10 && string(payload) == "are you there"
		welcome = welcome || op == 1
	}
}

// FuzzFrames writes arbitrary bytes behind a good upgrade: whatever comes, the
// connection ends or goes on, and the server lives.
func FuzzFrames(f *testing.F) {
	f.Add(frame(0x81, hello))
	f.Add(append(frame(0x81, hello), frame(0x81, `[{"type":"ping","ref":2}]`)...))
	f.Add([]byte{0x88, 0x80, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		n := start(t, nil)
		w := n.raw(t)
		if _, err := w.conn.Write(b); err != nil {
			return
		}
		if tcp, ok := w.conn.(*net.TCPConn); ok {
			_ = tcp.CloseWrite() // it may be closed already
		}
		_, _ = io.Copy(io.Discard, w.r) // to its end, however it comes
	})
}
