// Peer: `ws`, the WebSocket library that Node programs use, with ChaCha20-Poly1305 of node:crypto.
//
// Compression is off (the default), payloads stay Buffers without a copy, a send is not waited for. Over TLS the server is
// node:https. Each message is decrypted, encrypted for each recipient, and acked, as by the others.

import { createCipheriv, createDecipheriv } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { WebSocketServer } from "ws";

const CIPHER = "chacha20-poly1305";
const TAG = { authTagLength: 16 };
const HELLO_BYTES = 72;
const NUMBER_BYTES = 8;
const BINARY = { binary: true };

const rooms = new Map();

function nonce(count) {
  const bytes = Buffer.alloc(12);
  bytes.writeUInt32LE(count % 2 ** 32, 4);
  bytes.writeUInt32LE(Math.floor(count / 2 ** 32), 8);
  return bytes;
}

class Member {
  constructor(connection, hello) {
    this.connection = connection;
    this.member = Buffer.from(hello.subarray(4, 8));
    this.sending = Buffer.from(hello.subarray(8, 40));
    this.receiving = Buffer.from(hello.subarray(40, 72));
    this.decrypted = 0;
    this.encrypted = 0;
    const number = hello.readUInt32BE(0);
    this.room = rooms.get(number) ?? new Set();
    rooms.set(number, this.room.add(this));
  }

  decrypt(message) {
    const decipher = createDecipheriv(CIPHER, this.sending, nonce(this.decrypted++), TAG);
    const end = message.length - TAG.authTagLength;
    decipher.setAuthTag(message.subarray(end));
    const plain = decipher.update(message.subarray(0, end));
    decipher.final();
    return plain;
  }

  send(plain) {
    const cipher = createCipheriv(CIPHER, this.receiving, nonce(this.encrypted++), TAG);
    const body = cipher.update(plain);
    cipher.final();
    this.connection.send(Buffer.concat([body, cipher.getAuthTag()]), BINARY);
  }

  deliver(message) {
    const plain = this.decrypt(message);
    const delivery = Buffer.concat([Buffer.from("D"), this.member, plain]);
    for (const other of this.room) if (other !== this) other.send(delivery);
    this.send(Buffer.concat([Buffer.from("A"), plain.subarray(0, NUMBER_BYTES)]));
  }
}

function serve(connection) {
  let member = null;
  connection.on("message", (message) => {
    if (member !== null) return member.deliver(message);
    if (message.length !== HELLO_BYTES) return connection.close(1002);
    member = new Member(connection, message);
    connection.send(Buffer.from("ready"), BINARY);
  });
  connection.on("close", () => member?.room.delete(member));
  connection.on("error", () => connection.terminate());
}

const [certificate, key] = process.argv.slice(2);
const http = certificate
  ? createTlsServer({ cert: readFileSync(certificate), key: readFileSync(key), minVersion: "TLSv1.3" })
  : createServer();
new WebSocketServer({ server: http, perMessageDeflate: false }).on("connection", serve);
http.listen({ host: "127.0.0.1", port: 0, backlog: 1024 }, () => {
  console.log(JSON.stringify({ port: http.address().port }));
});
process.on("SIGTERM", () => process.exit(0));
