// talk joins a conversation over a WebSocket, says `count` messages one after
// the other, and resolves to what it saw once `total` entries have come. It is
// run by a browser page with its own WebSocket and by Node with package ws.
function talk(Socket, url, token, device, conv, count, total, patienceMS) {
  return new Promise((resolve, reject) => {
    const seen = [];
    let said = 0;
    const ws = new Socket(url, "chatnode.v1.json");
    const timer = setTimeout(() => fail("not within " + patienceMS + " ms; saw " + seen.length), patienceMS);
    function fail(why) {
      clearTimeout(timer);
      ws.close();
      reject(new Error(device + ": " + why));
    }
    function write(frame) {
      ws.send(JSON.stringify(frame));
    }
    function say() {
      if (said < count) {
        write({ type: "send", ref: 100 + said, conv: conv, id: crypto.randomUUID(), text: device + " " + said + " 你好 🙂 שלום" });
        said++;
      }
    }
    function take(frame) {
      switch (frame.type) {
        case "welcome":
          write([{ type: "subscribe", ref: 2, conv: conv, from: 1 }]);
          break;
        case "subscribed":
        case "ack":
          say();
          break;
        case "entries":
          for (const e of frame.entries) {
            seen.push(e.seq + " " + e.sender + " " + e.type + " " + (e.text || ""));
          }
          if (seen.length >= total) {
            clearTimeout(timer);
            ws.close();
            resolve(seen);
          }
          break;
        case "error":
        case "bye":
          fail(frame.code + ": " + frame.message);
          break;
      }
    }
    ws.onopen = () => write({ type: "hello", ref: 1, token: token, device: device });
    ws.onerror = (e) => fail("connection failed " + (e.message || ""));
    ws.onclose = (e) => fail("closed with " + e.code);
    ws.onmessage = (m) => {
      const frame = JSON.parse(m.data);
      (Array.isArray(frame) ? frame : [frame]).forEach(take);
    };
  });
}
if (typeof module !== "undefined") {
  module.exports = talk;
}
