"""One example or more of everything that can be said, small enough to read. The golden bytes are made from these."""

from typing import Final, get_args
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from varde_contract import bodies
from varde_contract import envelope as e
from varde_contract import frames as f
from varde_contract.close_codes import CloseCode
from varde_contract.ids import AccountId, ClientId, ConversationId, DeviceId, MessageId, ProfileId, SessionId
from varde_contract.limits import CIPHERTEXT_BYTES, PROBE_BYTES, SEQ_MAX, SYNC_MESSAGES
from varde_contract.refusals import RefusalCode, StaleDevices
from varde_contract.talk import ConversationKind


def _id(number: int) -> UUID:
    return UUID(f"019b76da-a800-7000-8000-{number:012x}")


SESSION: Final = SessionId(_id(0x5E))
CONVERSATION: Final = ConversationId(_id(0xC0))
OTHER: Final = ConversationId(_id(0xC1))
CLIENT_ID: Final = ClientId(_id(0xC11))
MESSAGE: Final = MessageId(_id(0x3E5))
ALICE: Final = AccountId(_id(0xA))
ALICE_PRIVAT: Final = ProfileId(_id(0xA1))
BOB_PRIVAT: Final = ProfileId(_id(0xB1))
ALICE_PHONE: Final = DeviceId(_id(0xAD1))
BOB_PHONE: Final = DeviceId(_id(0xBD1))
BOB_LAPTOP: Final = DeviceId(_id(0xBD2))
NOW_MS: Final = 1_767_225_600_000
SEALED: Final = bytes.fromhex("0202") + b"ciphertext"

HELLO: Final = f.Hello(2, "header.claims.signature", ALICE_PHONE)

CLIENT: Final[tuple[f.ClientFrame, ...]] = (
    f.Join(),
    f.Join(CONVERSATION),
    f.Join(CONVERSATION, 8),
    f.Send(CLIENT_ID, CONVERSATION, ALICE_PRIVAT, 3, group=SEALED),
    f.Send(CLIENT_ID, CONVERSATION, ALICE_PRIVAT, 3, devices={BOB_PHONE: SEALED, BOB_LAPTOP: SEALED + b"2"}),
    f.Send(CLIENT_ID, CONVERSATION, ALICE_PRIVAT, 0, devices={}),
    f.Delivered(CONVERSATION, 0),
    f.Delivered(CONVERSATION, SEQ_MAX),
    f.Read(CONVERSATION, ALICE_PRIVAT, 300),
    f.Sync(CONVERSATION, 1),
    f.Sync(CONVERSATION, 70_000, SYNC_MESSAGES),
    f.Typing(CONVERSATION, ALICE_PRIVAT, active=True),
    f.Presence(ALICE_PRIVAT, f.PresenceState.AWAY),
    f.Probe(b""),
    f.Probe(bytes(range(PROBE_BYTES))),
)
LIMITS: Final = f.ServerLimits(
    ciphertext_bytes=CIPHERTEXT_BYTES, frames_per_second=50, bytes_per_second=262_144, joined=1_000
)
_HEADS: Final = (f.Head(CONVERSATION, 12, 7, 3, 11), f.Head(OTHER, 0, 0, 1, 0))
_STALE: Final = StaleDevices(4, missing=(BOB_LAPTOP,), gone=(BOB_PHONE,))
SERVER: Final[tuple[f.ServerFrame, ...]] = (
    f.Welcome(SESSION, NOW_MS, 30_000, LIMITS, _HEADS, more=False),
    f.Welcome(SESSION, NOW_MS, 30_000, LIMITS, (), more=True),
    f.Joined(CONVERSATION, 8, 12, 3, 11),
    f.Ack(CLIENT_ID, CONVERSATION, MESSAGE, 13, NOW_MS),
    f.New(CONVERSATION, 13, MESSAGE, CLIENT_ID, ALICE_PRIVAT, ALICE_PHONE, NOW_MS, SEALED),
    f.DeliveredBy(CONVERSATION, BOB_PRIVAT, 13),
    f.ReadBy(CONVERSATION, BOB_PRIVAT, 13),
    *(f.Gap(CONVERSATION, 1, 7, why) for why in f.GapReason if why is not f.GapReason.NOT_FOR_YOU),
    f.TypingBy(CONVERSATION, BOB_PRIVAT, active=False),
    *(f.PresenceOf(BOB_PRIVAT, state) for state in f.PresenceState),
    f.RefusedFrame("msg:send", CLIENT_ID, RefusalCode.RATE_LIMITED, "wait a little", retry_after_ms=1_500),
    f.RefusedFrame("msg:send", CLIENT_ID, RefusalCode.STALE_DEVICES, "encrypt for these devices", None, _STALE),
    f.RefusedFrame("presence", None, RefusalCode.PROFILE_NOT_ALLOWED, "this device may not speak for the profile"),
    f.Lagging(5),
    f.Changed(f.ChangeKind.MEMBERSHIP, CONVERSATION, 4),
    f.Changed(f.ChangeKind.DEVICES, CONVERSATION, 5),
    f.Changed(f.ChangeKind.KEYS_LOW, None, 9),
    f.ProbeEcho(bytes(range(PROBE_BYTES))),
    f.Gap(CONVERSATION, 1, 7, f.GapReason.NOT_FOR_YOU),  # here: the handshakes' golden bytes hold those above
    f.Goaway(CloseCode.DRAINING, 2_000, 10_000),
)
WELCOME: Final = SERVER[0]
GOAWAY: Final = SERVER[-1]

_BODIES: Final = (bodies.Text("Varden er tent på Tryvann 🔥"), bodies.Text(""), bodies.Empty())
_FIRST: Final = e.Envelope(
    version=2,
    conversation=CONVERSATION,
    kind=ConversationKind.GROUP,
    chain=e.ChainHead(3, bytes(range(64, 96))),
    lists=bytes(range(96, 128)),
    account=ALICE,
    profile=ALICE_PRIVAT,
    device=ALICE_PHONE,
    recipient=BOB_PHONE,
    client_id=CLIENT_ID,
    written_ms=NOW_MS,
    incarnation=bytes(range(8)),
    counter=1,
    previous=None,
    seen=(),
    checkpoint=None,
    body=_BODIES[0],
)
_SEEN: Final = tuple(
    e.SeenMessage(device, bytes(range(8, 16)), counter, bytes([counter]) * 32)
    for device, counter in ((BOB_PHONE, 7), (BOB_LAPTOP, 1))
)
_TARGET: Final = bodies.MessageRef(BOB_PHONE, CLIENT_ID)
_MENTION: Final = bodies.Mention(4, 4, BOB_PRIVAT)
_SAYINGS: Final[tuple[bodies.Saying, ...]] = (
    bodies.Text("hei @bob", (_MENTION,)),
    bodies.Text("in reply, in a thread, gone in an hour", (), _TARGET, _TARGET, 3_600),
    bodies.React(_TARGET, "👩🏽‍🚀", on=True),
    bodies.React(_TARGET, "🔥", on=False),
    bodies.Edit(_TARGET, "hei @bob!", (_MENTION,)),
    bodies.Delete(_TARGET),
    bodies.SetTimer(604_800),
    bodies.Contact(BOB_PRIVAT, "Bob på Tryvann", ALICE, bytes(range(32))),
)
ENVELOPES: Final = (
    *(replace(_FIRST, body=body) for body in _BODIES),
    replace(
        _FIRST,
        recipient=None,
        counter=2,
        previous=bytes(range(128, 160)),
        seen=_SEEN,
        checkpoint=e.SeenCheckpoint(1_000, bytes(range(160, 192))),
        body=bodies.Text("to the whole group"),
    ),
    replace(_FIRST, body=bodies.GroupKey(session=bytes(range(32)), key="a Megolm session key, exported at index 0")),
    replace(_FIRST, kind=ConversationKind.DM, chain=e.ChainHead(0, bytes(32)), body=bodies.Text("to one person")),
    replace(_FIRST, body=bodies.Invite(3, bytes(range(64, 96)), "the first words")),
    *(replace(_FIRST, recipient=None, body=body) for body in _SAYINGS),
    replace(
        _FIRST,
        counter=3,
        previous=bytes(range(128, 160)),
        body=bodies.GroupKey(session=bytes(range(32)), key="a Megolm session key, shared in parts"),
        parts=e.Parts(2, 3),
    ),
    replace(
        _FIRST,
        recipient=None,
        counter=5,
        previous=bytes(range(128, 160)),
        body=bodies.Text("to the whole group, after three parts"),
        parts=e.Parts(2, 4),
    ),
)

CLIENT_KINDS: Final[tuple[type[Struct], ...]] = get_args(f.ClientFrame)
SERVER_KINDS: Final[tuple[type[Struct], ...]] = get_args(f.ServerFrame)


def example_of(kind: type[Struct]) -> Struct:
    """Return the first example of a frame."""
    return next(frame for frame in (*CLIENT, *SERVER) if type(frame) is kind)
