"""`python -m tests.contract.vectors.write`: the golden bytes of protocol v2, for our tests and for writers
of clients.
"""
# ruff: noqa: RUF001 - some names are to look like others

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import Struct
from msgspec.structs import replace
from nacl import bindings

from tests.chains import NOW_MS, Chain, ChainSigner, keys_of
from tests.contract import device_lists as lists
from tests.contract import examples as x
from varde_contract import codec, signed_statements
from varde_contract import membership as m
from varde_contract import membership_statements as s
from varde_contract.card import Card, CardKind, CardPlace, associated_data, card_statement, encode_card
from varde_contract.device_list import PendingRoot, commitment, decode_list, encode, list_hash
from varde_contract.envelope import Envelope, encode_envelope
from varde_contract.frames import tag_of
from varde_contract.ids import SpaceId, uuid7
from varde_contract.kem import KemKeyPair, MlKemKeyPair, encapsulate_mlkem
from varde_contract.names import clean_name, compared, lookalike
from varde_contract.noise import Handshake, KeyPair
from varde_contract.session import ClientSession, Pattern, ServerSession, noise_name, prologue
from varde_contract.talk import Role

_encoder = msgspec.msgpack.Encoder(uuid_format="bytes")

FOLDER: Final = Path(__file__).parent

CLIENT_STATIC: Final = bytes(range(32))
CLIENT_EPHEMERAL: Final = bytes(range(32, 64))
RELAY_STATIC: Final = bytes(range(64, 96))
RELAY_EPHEMERAL: Final = bytes(range(96, 128))
ROOT_SEED: Final = bytes(range(128, 160))
SIGNING_SEED: Final = bytes(range(160, 192))
CARD_NONCE: Final = bytes(range(24))
IDENTITY: Final = bytes(range(192, 224))
RELAY_KEM: Final = MlKemKeyPair(bytes(range(64)))
KEM: Final = KemKeyPair.from_private(bytes(range(96)))


TALK: Final[tuple[tuple[str, tuple[Struct, ...]], ...]] = (
    ("relay", (x.WELCOME,)),
    ("client", x.CLIENT[:1]),
    ("relay", x.SERVER[2:18]),
    ("client", x.CLIENT[3:4]),
    ("relay", (x.GOAWAY,)),
)
"""What is said once the handshake is over. 16 frames in one message need the longer array header."""


def _kem_ciphertext() -> bytes:
    """Encapsulation is random and takes no seed: the ciphertext that was written down first is used for ever."""
    file = FOLDER / "handshake.json"
    written = json.loads(file.read_text(encoding="utf-8")) if file.exists() else []
    found = next((each["kem_ciphertext"] for each in written if "kem_ciphertext" in each), None)
    return encapsulate_mlkem(RELAY_KEM.public)[1] if found is None else bytes.fromhex(found)


KEM_CIPHERTEXT: Final = _kem_ciphertext()


class FixedClient(ClientSession):
    """A client whose ephemeral key is known. For vectors only: it breaks every promise of Noise."""

    def __init__(self, pattern: Pattern) -> None:
        relay = KeyPair.from_private(RELAY_STATIC).public
        static = KeyPair.from_private(CLIENT_STATIC)
        kem = RELAY_KEM.public if pattern.post_quantum else None
        super().__init__(static, x.HELLO, relay_key=relay, pattern=pattern, relay_kem=kem)
        if pattern.post_quantum:
            self._kem_ciphertext = KEM_CIPHERTEXT
        self._handshake = _fixed(pattern, static, CLIENT_EPHEMERAL, rs=relay if pattern.one_round_trip else None)


class FixedServer(ServerSession):
    """A relay whose ephemeral key is known. For vectors only."""

    def __init__(self) -> None:
        super().__init__(KeyPair.from_private(RELAY_STATIC), RELAY_KEM)

    def _choose(self, message: bytes, static: KeyPair, kem: MlKemKeyPair | None) -> tuple[Handshake, bytes]:
        _, rest = super()._choose(message, static, kem)
        assert self.pattern is not None
        return _fixed(self.pattern, static, RELAY_EPHEMERAL, initiator=False), rest


def _fixed(
    pattern: Pattern, static: KeyPair, ephemeral: bytes, *, initiator: bool = True, rs: bytes | None = None
) -> Handshake:
    e = KeyPair.from_private(ephemeral)
    bound = (RELAY_KEM.public, KEM_CIPHERTEXT) if pattern.post_quantum else ()
    psks = (RELAY_KEM.decapsulate(KEM_CIPHERTEXT),) if pattern.post_quantum else ()
    name, first = noise_name(pattern), prologue(pattern, *bound)
    return Handshake(name, initiator=initiator, prologue=first, s=static, rs=rs, e=e, psks=psks)


def frames() -> list[Any]:
    """Every example of a frame: its bytes, and the same in JSON with ids as text and bytes as base64."""
    return [
        {"from": side, "tag": tag_of(frame), "json": _json(frame), "msgpack": codec.encode_frame(frame).hex()}
        for side, spoken in (("client", x.CLIENT), ("relay", x.SERVER))
        for frame in spoken
    ]


def handshakes() -> list[Any]:
    """Both patterns from the first byte to the first frames, with every key that took part."""
    return [_transcript(pattern) for pattern in Pattern]


def _transcript(pattern: Pattern) -> dict[str, Any]:
    client, server = FixedClient(pattern), FixedServer()
    sent = [("client", client.open())]
    while client.state.value == "handshake":
        server.receive(sent[-1][1])
        sent.append(("relay", _some(server.take_reply())))
        client.receive(sent[-1][1])
        reply = client.take_reply()
        if reply is not None:
            sent.append(("client", reply))
            server.receive(reply)
    keys = {
        "client_static_private": CLIENT_STATIC.hex(),
        "client_ephemeral_private": CLIENT_EPHEMERAL.hex(),
        "relay_static_private": RELAY_STATIC.hex(),
        "relay_static_public": server._static.public.hex(),
        "relay_ephemeral_private": RELAY_EPHEMERAL.hex(),
    }
    bound: tuple[bytes, ...] = ()
    if pattern.post_quantum:
        bound = (RELAY_KEM.public, KEM_CIPHERTEXT)
        keys |= {
            "relay_kem_seed": bytes(range(64)).hex(),
            "relay_kem_public": RELAY_KEM.public.hex(),
            "kem_ciphertext": KEM_CIPHERTEXT.hex(),
            "psk": RELAY_KEM.decapsulate(KEM_CIPHERTEXT).hex(),
        }
    return {
        "noise": noise_name(pattern),
        "prologue": prologue(pattern, *bound).hex(),
        **keys,
        "hello": {"json": _json(x.HELLO), "msgpack": codec.encode_hello(x.HELLO).hex()},
        "handshake": [{"from": side, "websocket": message.hex()} for side, message in sent],
        "handshake_hash": client.handshake_hash.hex(),
        "transport": list(_talk(client, server)),
    }


def _talk(client: ClientSession, server: ServerSession) -> Iterable[dict[str, Any]]:
    for side, spoken in TALK:
        speaker, listener = (client, server) if side == "client" else (server, client)
        sealed = speaker.send(*spoken)
        listener.receive(sealed)
        packed = codec.pack([codec.encode_frame(frame) for frame in spoken])
        yield {
            "from": side,
            "json": [_json(frame) for frame in spoken],
            "msgpack": packed.hex(),
            "websocket": sealed.hex(),
        }


def envelopes() -> list[Any]:
    """Every example of an envelope, padded: the plaintext that Olm or Megolm encrypts."""
    return [{"json": _said(envelope), "plaintext": encode_envelope(envelope).hex()} for envelope in x.ENVELOPES]


def _said(envelope: Envelope) -> list[Any]:
    """As JSON, without what is not said: it is not in the bytes either."""
    fields: list[Any] = _json(envelope)
    if envelope.parts is None:
        fields.pop()
    body, defaults = fields[Envelope.__struct_fields__.index("body")], type(envelope.body).__struct_defaults__
    while defaults and getattr(envelope.body, type(envelope.body).__struct_fields__[len(body) - 2]) == defaults[-1]:
        body.pop()
        defaults = defaults[:-1]
    return fields


def signed() -> dict[str, Any]:
    """What signing keys sign beside device lists, and the signatures (Ed25519 is deterministic, RFC 8032)."""
    signing = Ed25519PrivateKey.from_private_bytes(SIGNING_SEED)
    statements = {
        "one_time_key": signed_statements.one_time_key_statement(x.ALICE_PHONE, IDENTITY, KEM.public),
        "fallback_key": signed_statements.fallback_key_statement(x.ALICE_PHONE, IDENTITY, KEM.public),
        "device_session": signed_statements.session_statement(x.SESSION, x.ALICE_PHONE),
    }
    return {
        "signing_private": SIGNING_SEED.hex(),
        "signing_key": signing.public_key().public_bytes_raw().hex(),
        "device": str(x.ALICE_PHONE),
        "session": str(x.SESSION),
        "prekey": IDENTITY.hex(),
        "kem_private": KEM.private_bytes().hex(),
        "kem_prekey": KEM.public.hex(),
        "statements": {
            name: {"statement": statement.hex(), "signature": signing.sign(statement).hex()}
            for name, statement in statements.items()
        },
    }


def device_lists() -> dict[str, Any]:
    """The history of an account, with lists that are refused on the way. Keys are made as in `device_lists`."""
    phone, laptop = lists.device("phone", manager=True), lists.device("laptop", manager=True)
    one = lists.first(phone)
    two = lists.following(one, devices=(laptop, phone))
    pending = PendingRoot(lists.public("new root"), lists.NOW_MS + 8 * lists.DAY_MS)
    three = lists.following(two, pending_root=pending)
    taken = {"root_key": pending.root_key, "pending_root": None}
    four = lists.following(three, issued_ms=pending.effective_ms, **taken)
    history: list[tuple[Any, list[tuple[Any, str]]]] = [
        (lists.sign(one, "phone", roots=["root"]), [(lists.sign(one, roots=["root"]), "a new device did not sign")]),
        (lists.sign(two, "laptop", "phone"), [(lists.sign(two, "laptop"), "by the root key or by one manager")]),
        (lists.sign(three, "laptop", "phone"), [(lists.sign(three, "phone"), "all managers together")]),
        (
            lists.sign(four, roots=["new root"]),
            [(lists.sign(lists.following(three, **taken), roots=["new root"]), "as many signatures of root keys")],
        ),
    ]
    steps = [
        {
            "json": _json(decode_list(signed.statement)),
            "hash": list_hash(decode_list(signed.statement)).hex(),
            "signed": encode(signed).hex(),
            "refused_before": [{"rule": rule, "signed": encode(refused).hex()} for refused, rule in refused_before],
        }
        for signed, refused_before in history
    ]
    return {
        "profile": str(lists.PROFILE),
        "salt": lists.SALT.hex(),
        "commitment": commitment(lists.PROFILE, lists.SALT).hex(),
        "history": steps,
    }


def membership() -> dict[str, Any]:
    """A group from its creation on with a statement of every kind, and lies about it that are refused."""
    alice, bob, carol, dave = people = [ChainSigner(name) for name in ("alice", "bob", "carol", "dave")]
    chain = Chain(keys_of(*people)).create(alice)
    link = Ed25519PrivateKey.from_private_bytes(ROOT_SEED)
    link_key = link.public_key().public_bytes_raw()
    via = s.Via(link_key, link.sign(s.link_statement(chain.conversation, dave.profile)))
    chain.say(alice, s.Invite, bob.profile, bob.account, Role.ADMIN).say(bob, s.Accept, None)
    chain.say(bob, s.Invite, carol.profile, carol.account, Role.MEMBER).say(carol, s.Decline)
    chain.say(alice, s.InviteLink, link_key, NOW_MS, 2, Role.MEMBER).say(dave, s.Accept, via)
    chain.say(alice, s.Policy, "invite", "members").say(alice, s.ChangeRole, bob.profile, Role.OWNER)
    chain.say(bob, s.Remove, dave.profile).say(alice, s.Leave)
    refused = [
        ("a number that was taken", chain.signed[-1]),
        ("signed by another device", s.sign_statement(s.Leave(*m.next_head(chain.now, bob.signer, 0)), dave.key.sign)),
        ("no member any more", chain.sign(alice, s.Leave)),
        ("of a kind that is not known", _poll(chain, bob)),
        ("a policy that is not known", chain.sign(bob, s.Policy, "history", "kept")),
    ]
    lies = [
        {"why": why, "after": m.encode_state(chain.now).hex(), "signed": signed.hex(), **_refusal(chain, signed)}
        for why, signed in refused
    ]
    states: list[m.Membership | None] = [None]
    for signed in chain.signed:
        states.append(m.apply(states[-1], signed, chain.keys))
    settled = [
        chain.sign(bob, s.Guest, link_key, NOW_MS, 1, s.GuestRight.REACT | s.GuestRight.WRITE, 10),
        chain.sign(bob, s.Channel, link_key, None, bytes(32), True),
        chain.sign(bob, s.Space, SpaceId(uuid7(NOW_MS, bytes(10))), bytes(32)),
        chain.sign(bob, s.Space, None, None),
    ]
    before = replace(chain.now, number=m.SNAPSHOT_EVERY - 1)
    snapshot = Chain(chain.keys, state=before).say(bob, s.Leave)
    return {
        "signers": [
            {"device": str(each.device), "signing_key": each.key.public_key().public_bytes_raw().hex()}
            for each in people
        ],
        "chain": [_link(signed, state) for signed, state in zip(chain.signed, states[1:], strict=True)],
        "snapshot": {
            "before": m.encode_state(before).hex(),
            **_link(snapshot.signed[0], m.apply(before, snapshot.signed[0], chain.keys)),
        },
        "settled": {
            "after": m.encode_state(chain.now).hex(),
            "statements": [_statement(signed) for signed in settled],
        },
        "refused": lies,
    }


def _statement(signed: bytes) -> dict[str, Any]:
    statement, parts = s.parse_statement(signed)
    return {
        "json": _json(statement),
        "statement": parts.statement.hex(),
        "signed": signed.hex(),
        "hash": s.digest_of(signed).hex(),
    }


def _link(signed: bytes, state: m.Membership | None) -> dict[str, Any]:
    assert state is not None
    return _statement(signed) | {"state": m.encode_state(state).hex()}


def _refusal(chain: Chain, signed: bytes) -> dict[str, Any]:
    try:
        m.apply(chain.state, signed, chain.keys)
    except s.ChainFault as fault:
        return {"refusal": fault.refusal, "unknown": isinstance(fault, s.UnknownStatement)}
    raise AssertionError("it was to be refused")


def _poll(chain: Chain, by: ChainSigner) -> bytes:
    """Sign a statement of later."""
    statement = _encoder.encode(["poll", *m.next_head(chain.now, by.signer, NOW_MS), "all"])
    return _encoder.encode([statement, by.key.sign(s.statement_bytes(statement))])


def cards() -> dict[str, Any]:
    """A card of a profile and one of a group, from what is on them to what the server keeps; and what names become."""
    signing = Ed25519PrivateKey.from_private_bytes(SIGNING_SEED)
    group = CardPlace(CardKind.GROUP, x.CONVERSATION)
    return {
        "signing_private": SIGNING_SEED.hex(),
        "key": CLIENT_STATIC.hex(),
        "nonce": CARD_NONCE.hex(),
        "cards": [
            _card(signing, CardPlace(CardKind.PROFILE, x.ALICE_PRIVAT), 1, "Åse", b""),
            _card(signing, group, 2**40, "Sailing 🏴", b"\x89PNG\r\n\x1a\n" + bytes(1_000)),
        ],
        "names": [
            {"given": name, "kept": clean_name(name), "compared": compared(name), "lookalike": lookalike(name)}
            for name in ("Bob", "  A\u030ase   Li ", "Straße", "Воb", "ANNA", "ΑΝΝΑ", "❤\ufe0f")
        ],
        "no_names": ["", " ", "\u200d", "\u3164", "Bob\n", "\u202eBob", "Bob\u200b", "a" * 65],
    }


def _card(signing: Ed25519PrivateKey, place: CardPlace, number: int, name: str, avatar: bytes) -> dict[str, Any]:
    unsigned = Card(number, name, avatar, x.ALICE_PRIVAT, x.ALICE_PHONE, b"")
    card = replace(unsigned, signature=signing.sign(card_statement(place, unsigned)))
    bound = associated_data(place, number)
    return {
        "kind": int(place.kind),
        "id": str(place.id),
        "json": _json(card),
        "statement": card_statement(place, card).hex(),
        "padded": encode_card(card).hex(),
        "associated_data": bound.hex(),
        "sealed": (
            CARD_NONCE
            + bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(encode_card(card), bound, CARD_NONCE, CLIENT_STATIC)
        ).hex(),
    }


FILES: Final[dict[str, Callable[[], Any]]] = {
    "frames.json": frames,
    "handshake.json": handshakes,
    "envelope.json": envelopes,
    "signed_statements.json": signed,
    "device_lists.json": device_lists,
    "membership.json": membership,
    "cards.json": cards,
}


def render(name: str) -> str:
    """Return the text of a file."""
    return json.dumps(FILES[name](), indent=1, ensure_ascii=False) + "\n"


def _json(struct: Struct) -> Any:
    return json.loads(msgspec.json.encode(struct))


def _some(message: bytes | None) -> bytes:
    assert message is not None
    return message


if __name__ == "__main__":
    for file in FILES:
        (FOLDER / file).write_text(render(file), encoding="utf-8")
