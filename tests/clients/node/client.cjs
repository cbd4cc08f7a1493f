// A client of the relay that shares nothing with it but docs/protocol.md: WebSocket by `ws`, msgpack by
// `@msgpack/msgpack`, Noise written here over node:crypto.
//
// Refuses end-to-end encryption and storage. It is driven line by line: each line in is a command, each line out a
// happening, both JSON, in which {"bin": "<hex>"} is a byte string.
//
//   in   {"do": "enter", url, pattern, static, relay, ticket, device}   connect, shake hands
//        {"do": "say", frames}       one message of frames, each an array that begins with its tag
//        {"do": "ping", bytes}       {"do": "close", code, reason}
//   out  {"upgraded", subprotocol, extensions}   {"frame"}   {"pong"}   {"pinged"}   {"closed", reason}   {"failed"}
"use strict";

const crypto = require("node:crypto");
const readline = require("node:readline");
const { decode, encode } = require("@msgpack/msgpack");
const { WebSocket } = require("ws");

const EMPTY = Buffer.alloc(0);
const TAG_BYTES = 16;
const KEY_BYTES = 32;
const PATTERNS = {
  XX: { byte: 1, premessage: false, messages: [["e"], ["e", "ee", "s", "es"], ["s", "se"]] },
  IK: { byte: 2, premessage: true, messages: [["e", "es", "s", "ss"], ["e", "ee", "se"]] },
};

const sha256 = (...parts) => crypto.createHash("sha256").update(Buffer.concat(parts)).digest();

// Noise section 4.3: HKDF with two outputs; the salt is the chaining key, and there is no info.
const hkdf = (chainingKey, material) => {
  const both = Buffer.from(crypto.hkdfSync("sha256", material, chainingKey, EMPTY, 2 * KEY_BYTES));
  return [both.subarray(0, KEY_BYTES), both.subarray(KEY_BYTES)];
};

class KeyPair {
  constructor(secret) {
    this.secret = secret;
    this.public = Buffer.from(crypto.createPublicKey(secret).export({ format: "jwk" }).x, "base64url");
  }

  static generate() {
    return new KeyPair(crypto.generateKeyPairSync("x25519").privateKey);
  }

  static from(bytes) {
    // RFC 8410 section 7: the fixed bytes in front of an X25519 key in PKCS #8.
    const der = Buffer.concat([Buffer.from("302e020100300506032b656e04220420", "hex"), bytes]);
    return new KeyPair(crypto.createPrivateKey({ key: der, format: "der", type: "pkcs8" }));
  }

  agree(publicBytes) {
    const jwk = { kty: "OKP", crv: "X25519", x: publicBytes.toString("base64url") };
    const publicKey = crypto.createPublicKey({ key: jwk, format: "jwk" });
    return crypto.diffieHellman({ privateKey: this.secret, publicKey });
  }
}

// Noise section 5.1, with the nonce of section 12.3: four zero bytes, then the counter, little-endian.
class Cipher {
  constructor(key) {
    this.key = key;
    this.counter = 0n;
  }

  nonce() {
    const nonce = Buffer.alloc(12);
    nonce.writeBigUInt64LE(this.counter++, 4);
    return nonce;
  }

  seal(associated, plaintext) {
    const cipher = crypto.createCipheriv("chacha20-poly1305", this.key, this.nonce(), { authTagLength: TAG_BYTES });
    cipher.setAAD(associated, { plaintextLength: plaintext.length });
    return Buffer.concat([cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
  }

  open(associated, sealed) {
    const decipher = crypto.createDecipheriv("chacha20-poly1305", this.key, this.nonce(), { authTagLength: TAG_BYTES });
    decipher.setAAD(associated, { plaintextLength: sealed.length - TAG_BYTES });
    decipher.setAuthTag(sealed.subarray(sealed.length - TAG_BYTES));
    return Buffer.concat([decipher.update(sealed.subarray(0, sealed.length - TAG_BYTES)), decipher.final()]);
  }
}

// Noise sections 5.2 and 5.3, the initiator's side only.
class Handshake {
  constructor(name, staticKey, relayKey) {
    const pattern = PATTERNS[name];
    const protocol = Buffer.from(`Noise_${name}_25519_ChaChaPoly_SHA256`);
    this.byte = Buffer.from([pattern.byte]);
    this.hash = protocol.length > KEY_BYTES ? sha256(protocol) : Buffer.concat([protocol], KEY_BYTES);
    this.chainingKey = this.hash;
    this.cipher = null;
    this.messages = pattern.messages;
    this.turn = 0;
    this.keys = { s: staticKey, e: KeyPair.generate() };
    this.theirs = { s: pattern.premessage ? relayKey : null, e: null };
    this.mixHash(Buffer.concat([Buffer.from("varde.v2"), this.byte]));
    if (pattern.premessage) this.mixHash(relayKey);
  }

  get finished() {
    return this.turn === this.messages.length;
  }

  get last() {
    return this.turn >= this.messages.length - 2;
  }

  write(payload) {
    const written = this.messages[this.turn++].map((token) => {
      if (token === "e") return this.showEphemeral();
      if (token === "s") return this.encrypt(this.keys.s.public);
      this.mixAgreement(token);
      return EMPTY;
    });
    return Buffer.concat([...written, this.encrypt(payload)]);
  }

  read(message) {
    let rest = message;
    const take = (size) => {
      const taken = rest.subarray(0, size);
      rest = rest.subarray(size);
      return taken;
    };
    for (const token of this.messages[this.turn++]) {
      if (token === "e") this.mixHash((this.theirs.e = take(KEY_BYTES)));
      else if (token === "s") this.theirs.s = this.decrypt(take(KEY_BYTES + (this.cipher ? TAG_BYTES : 0)));
      else this.mixAgreement(token);
    }
    return this.decrypt(rest);
  }

  split() {
    const [ours, theirs] = hkdf(this.chainingKey, EMPTY);
    return { sending: new Cipher(ours), receiving: new Cipher(theirs) };
  }

  showEphemeral() {
    this.mixHash(this.keys.e.public);
    return this.keys.e.public;
  }

  // The first letter of a token names the initiator's key, the second the responder's.
  mixAgreement(token) {
    const shared = this.keys[token[0]].agree(this.theirs[token[1]]);
    const [chainingKey, key] = hkdf(this.chainingKey, shared);
    this.chainingKey = chainingKey;
    this.cipher = new Cipher(key);
  }

  mixHash(bytes) {
    this.hash = sha256(this.hash, bytes);
  }

  encrypt(plaintext) {
    const sealed = this.cipher ? this.cipher.seal(this.hash, plaintext) : plaintext;
    this.mixHash(sealed);
    return sealed;
  }

  decrypt(sealed) {
    const plaintext = this.cipher ? this.cipher.open(this.hash, sealed) : sealed;
    this.mixHash(sealed);
    return plaintext;
  }
}

const tell = (happening) => process.stdout.write(`${JSON.stringify(happening, toJson)}\n`);

// JSON.stringify has made {"type": "Buffer"} of a Buffer before it asks: `this` holds the value itself.
function toJson(name) {
  const value = this[name];
  if (value instanceof Uint8Array) return { bin: Buffer.from(value).toString("hex") };
  if (typeof value === "bigint") return Number(value);
  return value;
}

const fromJson = (_, value) => (value && typeof value.bin === "string" ? Buffer.from(value.bin, "hex") : value);

// Byte strings as keys of a map, which JSON does not have: ["map", [key, value], ...] on both sides.
const packed = (value) => {
  if (Array.isArray(value) && value[0] === "map") return new Map(value.slice(1).map(([key, each]) => [key, packed(each)]));
  return Array.isArray(value) ? value.map(packed) : value;
};

// `@msgpack/msgpack` writes maps with text keys only, and `msg:send` maps device ids.
const pack = (value) => {
  const fields = packed(value);
  if (fields instanceof Map) return packMap(fields);
  if (!Array.isArray(fields)) return Buffer.from(encode(fields));
  if (fields.length > 0xffff) throw new RangeError("too many fields");
  const header = fields.length < 16 ? [0x90 | fields.length] : [0xdc, fields.length >> 8, fields.length & 0xff];
  return Buffer.concat([Buffer.from(header), ...fields.map(pack)]);
};

const packMap = (map) => {
  const header = Buffer.from([0xde, map.size >> 8, map.size & 0xff]);
  return Buffer.concat([header, ...[...map].flatMap(([key, value]) => [pack(key), pack(value)])]);
};

class Client {
  enter({ url, pattern, static: secret, relay, ticket, device }) {
    this.handshake = new Handshake(pattern, KeyPair.from(secret), relay);
    this.relay = relay;
    this.hello = pack([2, ticket, device]);
    this.socket = new WebSocket(url, "varde.v2");
    this.socket.on("open", () => this.open());
    this.socket.on("message", (message, isBinary) => this.guard(() => this.receive(message, isBinary)));
    this.socket.on("ping", (bytes) => tell({ pinged: bytes }));
    this.socket.on("pong", (bytes) => tell({ pong: bytes }));
    this.socket.on("close", (code, reason) => tell({ closed: code, reason: reason.toString() }));
    this.socket.on("error", (error) => tell({ failed: error.message }));
  }

  say({ frames }) {
    this.socket.send(this.transport.sending.seal(EMPTY, pack(frames)));
  }

  ping({ bytes }) {
    this.socket.ping(bytes);
  }

  close({ code, reason }) {
    this.socket.close(code, reason);
  }

  open() {
    tell({ upgraded: true, subprotocol: this.socket.protocol, extensions: this.socket.extensions });
    this.send(Buffer.concat([this.handshake.byte, this.handshake.write(this.payload())]));
  }

  // Hello goes with the client's last message, which is the only one in IK.
  payload() {
    return this.handshake.last ? this.hello : EMPTY;
  }

  receive(message, isBinary) {
    if (!isBinary) throw new Error("the relay sent text");
    if (this.transport) {
      for (const frame of decode(this.transport.receiving.open(EMPTY, message), { useBigInt64: false })) tell({ frame });
      return;
    }
    if (this.handshake.read(message).length) throw new Error("the relay's handshake carries a payload");
    if (!this.handshake.theirs.s.equals(this.relay)) throw new Error("this is another relay");
    if (!this.handshake.finished) this.send(this.handshake.write(this.payload()));
    this.transport = this.handshake.split();
  }

  send(message) {
    this.socket.send(message);
  }

  guard(step) {
    try {
      step();
    } catch (error) {
      tell({ failed: error.message });
      this.socket.terminate();
    }
  }
}

const client = new Client();
const lines = readline.createInterface({ input: process.stdin });
lines.on("line", (line) => {
  const command = JSON.parse(line, fromJson);
  client[command.do](command);
});
lines.on("close", () => process.exit(0));
