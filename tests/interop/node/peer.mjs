// Node's package ws, told what to do: see commands.py.

import { createInterface } from "node:readline";
import { WebSocket, WebSocketServer } from "ws";

const MAX_SIZE = 2 ** 24;

let server, ws, arrived, inbox, pongs;

/** Values that come, for those who wait for them. */
class Queue {
  values = [];
  waiting = [];

  put(value) {
    const first = this.waiting.shift();
    if (first) first(value);
    else this.values.push(value);
  }

  get() {
    if (this.values.length) return Promise.resolve(this.values.shift());
    return new Promise((resolve) => this.waiting.push(resolve));
  }
}

const commands = {
  async serve(options) {
    expect();
    server = new WebSocketServer({
      host: "127.0.0.1",
      port: 0,
      maxPayload: MAX_SIZE,
      perMessageDeflate: settings(options),
      handleProtocols: () => "interop",
    });
    server.on("connection", adopt);
    await new Promise((resolve) => server.on("listening", resolve));
    return server.address().port;
  },

  async connect(uri, options) {
    expect();
    adopt(
      new WebSocket(uri, ["interop"], {
        maxPayload: MAX_SIZE,
        perMessageDeflate: settings(options),
      }),
    );
    await new Promise((resolve, reject) => {
      ws.on("open", resolve);
      ws.on("error", reject);
    });
  },

  subprotocol: async () => ws.protocol,

  send: (message) => write(ws, message, {}),

  async send_fragments(fragments) {
    const socket = ws;
    for (const fragment of fragments) {
      await write(socket, fragment, { fin: false });
      socket.ping();
    }
    await write(socket, fragments[0].slice(0, 0), { fin: true });
  },

  async recv() {
    const [data, isBinary] = await inbox.get();
    if (typeof data === "number") throw new Error(`closed with ${data}`);
    return isBinary ? data : data.toString();
  },

  async ping(data) {
    ws.ping(data);
    return (await pongs.get()).toString() === data;
  },

  async close(code, reason) {
    ws.close(code, reason);
    await inbox.get();
  },

  async wait_closed() {
    const [code, reason] = await inbox.get();
    if (typeof code !== "number") throw new Error("got a message");
    return code === 1006 ? null : [code, reason.toString()];
  },

  vanish: async () => ws.terminate(),
};

function expect() {
  inbox = new Queue();
  pongs = new Queue();
  arrived = new Promise((resolve) => {
    expect.fulfil = resolve;
  });
}

/** The connection of this test is there. */
function adopt(socket) {
  const [messages, answers] = [inbox, pongs];
  ws = socket;
  ws.on("message", (data, isBinary) => messages.put([data, isBinary]));
  ws.on("pong", (data) => answers.put(data));
  ws.on("close", (code, reason) => messages.put([code, reason]));
  ws.on("error", () => {}); // "close" follows.
  expect.fulfil();
}

function write(socket, data, options) {
  return new Promise((resolve, reject) =>
    socket.send(data, options, (error) => (error ? reject(error) : resolve())),
  );
}

/** Return the library's names for the parameters of RFC 7692. */
function settings({ deflate }) {
  if (deflate == null) return false;
  const given = { threshold: 0 };
  for (const [name, value] of Object.entries(deflate))
    given[name.replace(/_./g, (match) => match[1].toUpperCase())] = value;
  return given;
}

async function end() {
  if (ws) ws.terminate();
  if (server) await new Promise((resolve) => server.close(resolve));
  ws = server = undefined;
}

async function answer(name, args) {
  try {
    if (name !== "serve" && name !== "connect") await arrived;
    say((await commands[name](...args)) ?? null);
  } catch (error) {
    say({ error: `${error}` });
  }
}

function say(value) {
  process.stdout.write(`${JSON.stringify(pack(value))}\n`);
}

function pack(value) {
  return Buffer.isBuffer(value) ? { hex: value.toString("hex") } : value;
}

/** Turn what JSON could carry into what it stands for. */
function unpack(value) {
  if (Array.isArray(value)) return value.map(unpack);
  if (value !== null && typeof value === "object" && "hex" in value)
    return Buffer.from(value.hex, "hex");
  return value;
}

for await (const line of createInterface({ input: process.stdin })) {
  const [name, ...args] = JSON.parse(line);
  if (name === "end") {
    await end();
    say("the end");
  } else {
    answer(name, args.map(unpack));
  }
}

// Nobody is left to say what to do.
process.exit();
