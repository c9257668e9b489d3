// socket.io-client, told what to do: the same as ../socketio_peer.py.

import { createInterface } from "node:readline";
import { io } from "socket.io-client";

let socket;

const commands = {
  connect(url, transports) {
    socket = io(url, { transports, reconnection: false, forceNew: true });
    socket.on("connect", () => {
      const { engine } = socket.io;
      if (engine.transport.name === transports.at(-1)) say("connect", engine.transport.name);
      else engine.once("upgrade", (transport) => say("connect", transport.name));
    });
    socket.on("connect_error", (error) => say("connect_error", error.message));
    socket.on("disconnect", (reason) => say("disconnect", reason));
    socket.onAny((event, ...data) => say("event", event, ...data));
  },

  emit(event, ...data) {
    socket.emit(event, ...data.map(unpack));
  },

  call(event, ...data) {
    socket.emit(event, ...data.map(unpack), (...answer) => say("answer", ...answer));
  },

  disconnect() {
    socket.disconnect();
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const [name, ...rest] = JSON.parse(line);
  commands[name](...rest);
}

function say(...values) {
  process.stdout.write(`${JSON.stringify(values.map(pack))}\n`);
}

/** Bytes travel as {"hex": "..."}. */
function pack(value) {
  if (Buffer.isBuffer(value)) return { hex: value.toString("hex") };
  if (Array.isArray(value)) return value.map(pack);
  return value;
}

function unpack(value) {
  if (value?.hex !== undefined) return Buffer.from(value.hex, "hex");
  if (Array.isArray(value)) return value.map(unpack);
  return value;
}
