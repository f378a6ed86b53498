package wire_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/wire"
)

var benchText = strings.Repeat("some words of a message ", 11)[:256]

func BenchmarkDecodeSend(b *testing.B) {
	frame := string(wire.AppendRequest(nil, &wire.Request{Type: wire.Send, Ref: 7, Conv: "team-7", ID: chat.ClientID{1}, Text: benchText}))
	b.Run("wire", func(b *testing.B) {
		b.ReportAllocs()
		var req wire.Request
		for b.Loop() {
			d := wire.NewDecoder(frame)
			d.Next()
			if err := d.Request(&req); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("encoding/json", func(b *testing.B) {
		b.ReportAllocs()
		var req struct{ Type, Conv, ID, Text string }
		for b.Loop() {
			if err := json.Unmarshal([]byte(frame), &req); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkDecodeAck(b *testing.B) {
	frame := string(wire.AppendAck(nil, 7, "", &chat.Ack{Seq: 9, MsgNo: 8, TimeMS: 1_760_000_000_000}))
	b.ReportAllocs()
	var rep wire.Reply
	for b.Loop() {
		d := wire.NewDecoder(frame)
		d.Next()
		if err := d.Reply(&rep); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendAck(b *testing.B) {
	b.ReportAllocs()
	ack := chat.Ack{Seq: 9, MsgNo: 8, TimeMS: 1_760_000_000_000}
	var buf []byte
	for b.Loop() {
		buf = wire.AppendAck(buf[:0], 7, "", &ack)
	}
}

func BenchmarkAppendEntry(b *testing.B) {
	b.ReportAllocs()
	e := chat.Entry{Seq: 9, MsgNo: 8, TimeMS: 1_760_000_000_000, Sender: "ann", Device: "phone", ClientID: chat.ClientID{1}, Type: chat.Message, Body: chat.Body{Text: benchText}}
	var buf []byte
	for b.Loop() {
		buf = wire.AppendEntry(buf[:0], &e)
	}
}
