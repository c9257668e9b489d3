// Node's ws, with bufferutil: / echoes, /fanout sends to all.
//
// node ws_server.js PORT [deflate] [tls=FILE]
//
// Compression keeps nothing between messages, as it is asked for; what is shorter than
// 1 KiB is not compressed, which is its default. It has no keepalive of its own.
"use strict";

const fs = require("node:fs");
const http = require("node:http");
const https = require("node:https");
const { WebSocketServer } = require("ws");

const [port, ...words] = process.argv.slice(2);
const tls = words.find((word) => word.startsWith("tls="));

function listener() {
  if (!tls) return http.createServer();
  const pem = fs.readFileSync(tls.slice("tls=".length));
  return https.createServer({ cert: pem, key: pem });
}

const server = listener();
const sockets = new WebSocketServer({
  server,
  perMessageDeflate: words.includes("deflate"),
});
const receivers = new Set();

sockets.on("connection", (ws, request) => {
  ws.on("error", () => ws.terminate());
  if (request.url !== "/fanout") {
    ws.on("message", (data, binary) => ws.send(data, { binary }));
    return;
  }
  receivers.add(ws);
  ws.on("close", () => receivers.delete(ws));
  ws.on("message", (data, binary) => {
    for (const receiver of receivers) receiver.send(data, { binary });
  });
});
server.listen({ port: Number(port), host: "127.0.0.1", backlog: 1024 });
