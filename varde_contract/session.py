"""One relay connection as a sans-I/O core, both sides: WebSocket messages in, frames out, and the other way.

The life of a session is two tables, one for each direction of frames; a pair that is not in them is the protocol error.
"""

import enum
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, Generic, TypeAlias, TypeVar

from msgspec import Struct

from varde_contract import codec
from varde_contract import frames as f
from varde_contract.close_codes import CloseCode
from varde_contract.errors import LocalMisuse, PeerFault
from varde_contract.kem import MLKEM_CIPHERTEXT_BYTES, MlKemKeyPair, encapsulate_mlkem
from varde_contract.noise import Handshake, KeyPair, Transport

Frame = TypeVar("Frame", bound=Struct)
"""What this side receives."""

SUBPROTOCOL: Final = "varde.v2"
PROTOCOL_VERSION: Final = 2
SUITE: Final = "25519_ChaChaPoly_SHA256"


class Pattern(enum.IntEnum):
    """The first byte of the client's first message.

    The last two mix an ML-KEM-768 secret in as `psk`: what is recorded today stays closed to who breaks X25519 one day.
    The psk comes where it also covers Hello.
    """

    XX = 1
    IK = 2
    XXpsk3 = 3
    IKpsk1 = 4

    @property
    def one_round_trip(self) -> bool:
        """Whether the client knows the relay's static key beforehand, and says Hello in its first message."""
        return self in {Pattern.IK, Pattern.IKpsk1}

    @property
    def post_quantum(self) -> bool:
        """Whether the ciphertext of an ML-KEM secret stands before the first Noise message."""
        return self in {Pattern.XXpsk3, Pattern.IKpsk1}


class State(enum.Enum):
    """Where a session stands; the same words on both sides."""

    HANDSHAKE = "handshake"
    GREETING = "greeting"  # the client's Hello is known, the relay's Welcome is not sent yet
    LIVE = "live"
    DRAINING = "draining"  # the relay said goaway; what is under way may still end
    CLOSED = "closed"


CLIENT_FRAMES: Final[dict[tuple[State, type[Struct]], State]] = {
    (state, frame): state
    for state in (State.LIVE, State.DRAINING)
    for frame in (f.Join, f.Send, f.Delivered, f.Read, f.Sync, f.Typing, f.Presence, f.Probe)
}
"""What a client may say, and where the session stands afterwards."""

_SPOKEN: Final = (
    *(f.Joined, f.Ack, f.New, f.Gap, f.DeliveredBy, f.ReadBy),
    *(f.TypingBy, f.PresenceOf, f.RefusedFrame, f.Lagging, f.Changed, f.ProbeEcho),
)
SERVER_FRAMES: Final[dict[tuple[State, type[Struct]], State]] = {
    (State.GREETING, f.Welcome): State.LIVE,
    (State.LIVE, f.Goaway): State.DRAINING,
    **{(state, frame): state for state in (State.LIVE, State.DRAINING) for frame in _SPOKEN},
}
"""What a relay may say, and where the session stands afterwards."""


ByState: TypeAlias = dict[State, dict[type[Struct], State]]


def _by_state(table: dict[tuple[State, type[Struct]], State]) -> ByState:
    """Return the same table state by state: a frame then costs one look at a small dict."""
    rows: ByState = {state: {} for state in State}
    for (state, frame), after in table.items():
        rows[state][frame] = after
    return rows


_CLIENT_FRAMES: Final = _by_state(CLIENT_FRAMES)
_RECEIVED_FRAMES: Final = _by_state(
    {**CLIENT_FRAMES, **{(state, f.MalformedFrame): state for state in (State.LIVE, State.DRAINING)}}
)
"""What a relay takes in: of a client's frames also those that it will refuse for their shape."""
_SERVER_FRAMES: Final = _by_state(SERVER_FRAMES)


_NAMES: Final = {pattern: f"Noise_{pattern.name}_{SUITE}" for pattern in Pattern}
_PROLOGUES: Final = {pattern: SUBPROTOCOL.encode() + bytes((pattern,)) for pattern in Pattern}


def noise_name(pattern: Pattern) -> str:
    """Return the Noise protocol name, e.g. `Noise_XX_25519_ChaChaPoly_SHA256`."""
    return _NAMES[pattern]


def prologue(pattern: Pattern, kem_key: bytes = b"", kem_ciphertext: bytes = b"") -> bytes:
    """Return what both sides mix in first: neither pattern byte nor KEM ciphertext can be changed on the way."""
    return _PROLOGUES[pattern] + kem_key + kem_ciphertext


class _Session(ABC, Generic[Frame]):
    """What both sides share: the fence around what comes in, sealing, opening and the walk through the tables."""

    __slots__ = ("_decode", "_handshake", "_in", "_out", "_receives", "_reply", "_sends", "_transport", "state")

    def __init__(
        self,
        *,
        sends: ByState,
        receives: ByState,
        decode: Callable[[bytes], list[Frame]],
    ) -> None:
        self._decode = decode
        self._reply: bytes | None = None
        self._handshake: Handshake | None = None
        self._transport: Transport | None = None
        self._sends = sends
        self._receives = receives
        self._turn(State.HANDSHAKE)

    def receive(self, message: bytes) -> list[Frame]:
        """Take one WebSocket message and return its frames, none while the handshake goes on.

        Raises PeerFault; the session is then closed.
        """
        # One fence for all that comes in: whatever rule the peer broke, nothing of the session can be used again.
        try:
            if self.state is State.HANDSHAKE:
                self._receive_handshake(message)
                return []
            return self._receive_frames(message)
        except PeerFault:
            self.close()
            raise

    def take_reply(self) -> bytes | None:
        """Return the handshake message to send now, once."""
        reply, self._reply = self._reply, None
        return reply

    def send(self, *frames: Struct) -> bytes:
        """Seal frames into one WebSocket message. Raises LocalMisuse for a frame the state does not allow."""
        for frame in frames:
            self._step_out(type(frame))
        return self.seal(codec.pack([codec.encode_frame(frame) for frame in frames]))

    def send_encoded(self, frames: Sequence[tuple[type[Struct], bytes]]) -> bytes:
        """Seal frames that were encoded before, once for many peers."""
        for kind, _ in frames:
            # Most frames leave the state as it is, and one look decides that. A call for each would cost more.
            if self._out.get(kind) is not self.state:
                self._step_out(kind)
        return self.seal(codec.pack([encoded for _, encoded in frames]))

    def send_one(self, kind: type[Struct], encoded: bytes) -> bytes:
        """Seal one frame that was encoded before: what a relay does for each delivery."""
        if self._out.get(kind) is not self.state:
            self._step_out(kind)
        # Where any frame may be sent, the handshake is over and the end has not come.
        assert self._transport is not None
        return self._transport.seal(codec.ONE_FRAME + encoded)

    def seal(self, packed: bytes) -> bytes:
        """Encrypt one packed plaintext. Its place in the order of calls is its place on the wire."""
        if self._transport is None or self.state is State.CLOSED:
            raise LocalMisuse("nothing can be sealed before the handshake is over or after the end")
        return self._transport.seal(packed)

    def unseal(self, message: bytes) -> bytes:
        """Decrypt one WebSocket message into its packed plaintext, which is not decoded: for who only counts frames.

        Raises PeerFault for one that was tampered with.
        """
        if self._transport is None or self.state is State.CLOSED:
            raise LocalMisuse("nothing can be decrypted before the handshake is over or after the end")
        return self._transport.open(message)

    def close(self) -> None:
        """End the session; nothing goes in or out any more."""
        self._turn(State.CLOSED)

    @abstractmethod
    def _receive_handshake(self, message: bytes) -> None:
        """Take a handshake message; leave what must be answered in `_reply`."""

    def _receive_frames(self, message: bytes) -> list[Frame]:
        if self._transport is None or self.state is State.CLOSED:
            raise PeerFault("no message may be received while closed")
        received = self._decode(self._transport.open(message))
        for frame in received:
            if self._in.get(type(frame)) is not self.state:
                self._step_in(type(frame))
        return received

    def _step_out(self, kind: type[Struct]) -> None:
        after = self._out.get(kind)
        if after is None:
            raise LocalMisuse(f"{f.tag_of(kind)} may not be sent while {self.state.value}")
        if after is not self.state:
            self._turn(after)

    def _step_in(self, kind: type[Struct]) -> None:
        after = self._in.get(kind)
        if after is None:
            raise PeerFault(f"{f.tag_of(kind)} may not be received while {self.state.value}")
        if after is not self.state:
            self._turn(after)

    def _turn(self, state: State) -> None:
        self.state = state
        self._out, self._in = self._sends[state], self._receives[state]

    def _finish_handshake(self) -> None:
        assert self._handshake is not None
        self._transport = self._handshake.split()
        self._handshake = None
        self._turn(State.GREETING)


class ServerSession(_Session[f.ReceivedFrame]):
    """The relay's side. `receive` takes one WebSocket message; `take_reply` gives what must be sent at once.

    When `state` turns to GREETING, `hello` and `remote_static` are there to be judged; answer with `Welcome`.
    """

    __slots__ = ("_kem", "_others", "_static", "handshake_hash", "hello", "pattern", "remote_static")

    def __init__(
        self,
        static: KeyPair,
        kem: MlKemKeyPair | None = None,
        *,
        others: Sequence[tuple[KeyPair, MlKemKeyPair]] = (),
    ) -> None:
        """Without `kem` the patterns that need one are refused. `others` are accepted as well, while keys change."""
        super().__init__(sends=_SERVER_FRAMES, receives=_RECEIVED_FRAMES, decode=codec.decode_client_frames)
        self._static = static
        self._kem = kem
        self._others = others
        self.pattern: Pattern | None = None
        self.hello: f.Hello | None = None
        self.remote_static = b""
        self.handshake_hash = b""

    def _receive_handshake(self, message: bytes) -> None:
        if self._handshake is None:
            self._handshake, payload = self._begin(message)
            self._reply = self._handshake.write_message()
        else:
            payload = self._handshake.read_message(message)
        if self._handshake.finished:
            self._greet(payload)
        else:
            _require_empty(payload)

    def _begin(self, message: bytes) -> tuple[Handshake, bytes]:
        """Read a first message with the keys that it was made for: all patterns but XX are bound to them."""
        try:
            return self._read_first(message, self._static, self._kem)
        except PeerFault:
            # Where none of them fits, the fault with the key in use is raised: it is the one that clients are told to
            # have.
            for static, kem in self._others:
                with suppress(PeerFault):
                    return self._read_first(message, static, kem)
            raise

    def _read_first(self, message: bytes, static: KeyPair, kem: MlKemKeyPair | None) -> tuple[Handshake, bytes]:
        handshake, rest = self._choose(message, static, kem)
        return handshake, handshake.read_message(rest)

    def _choose(self, message: bytes, static: KeyPair, kem: MlKemKeyPair | None) -> tuple[Handshake, bytes]:
        try:
            self.pattern = Pattern(message[0])
        except (IndexError, ValueError):
            raise PeerFault("the first byte names no known pattern", CloseCode.UNSUPPORTED_HANDSHAKE) from None
        psks, bound, message = _take_secret(message[1:], kem) if self.pattern.post_quantum else ((), (), message[1:])
        handshake = Handshake(
            noise_name(self.pattern),
            initiator=False,
            prologue=prologue(self.pattern, *bound),
            s=static,
            psks=psks,
        )
        return handshake, message

    def _greet(self, payload: bytes) -> None:
        assert self._handshake is not None
        hello = codec.decode_hello(payload)
        if hello.version != PROTOCOL_VERSION:
            raise PeerFault("Hello asks for a version this node does not speak", CloseCode.UNSUPPORTED_VERSION)
        remote = self._handshake.remote_static
        assert remote is not None
        self.hello, self.remote_static, self.handshake_hash = hello, remote, self._handshake.handshake_hash
        self._finish_handshake()


def _take_secret(message: bytes, kem: MlKemKeyPair | None) -> tuple[tuple[bytes], tuple[bytes, bytes], bytes]:
    """Return the psk, what the prologue binds, and the Noise message behind the ciphertext."""
    if kem is None:
        raise PeerFault("this node has no key for a post-quantum pattern", CloseCode.UNSUPPORTED_HANDSHAKE)
    ciphertext, message = message[:MLKEM_CIPHERTEXT_BYTES], message[MLKEM_CIPHERTEXT_BYTES:]
    if len(ciphertext) < MLKEM_CIPHERTEXT_BYTES:
        raise PeerFault("the first message is too short for its KEM ciphertext", CloseCode.HANDSHAKE_FAILED)
    return (kem.decapsulate(ciphertext),), (kem.public, ciphertext), message


class ClientSession(_Session[f.ServerFrame]):
    """The client's side. With the relay's static key it speaks IK (one round trip), without it XX.

    With a post-quantum pattern, `relay_kem` is the relay's ML-KEM-768 public key. Raises PeerFault when it is none.
    After XX, `remote_static` is what the relay showed: compare it with a key had from elsewhere before trusting it.
    """

    __slots__ = ("_expected", "_hello", "_kem_ciphertext", "handshake_hash", "pattern", "remote_static")

    def __init__(
        self,
        static: KeyPair,
        hello: f.Hello,
        *,
        relay_key: bytes | None,
        pattern: Pattern,
        relay_kem: bytes | None = None,
    ) -> None:
        super().__init__(sends=_CLIENT_FRAMES, receives=_SERVER_FRAMES, decode=codec.decode_server_frames)
        if pattern.one_round_trip and relay_key is None:
            raise LocalMisuse("IK needs the relay's static key")
        if pattern.post_quantum is not (relay_kem is not None):
            raise LocalMisuse("exactly the post-quantum patterns use the relay's KEM key")
        psk, self._kem_ciphertext = (b"", b"") if relay_kem is None else encapsulate_mlkem(relay_kem)
        self.pattern = pattern
        self._hello = codec.encode_hello(hello)
        self._expected = relay_key
        self.remote_static = b""
        self.handshake_hash = b""
        self._handshake = Handshake(
            noise_name(pattern),
            initiator=True,
            prologue=prologue(pattern, relay_kem or b"", self._kem_ciphertext),
            s=static,
            rs=relay_key if pattern.one_round_trip else None,
            psks=(psk,) if psk else (),
        )

    def open(self) -> bytes:
        """Return the first WebSocket message to send."""
        assert self._handshake is not None
        payload = self._hello if self.pattern.one_round_trip else b""
        return bytes((self.pattern,)) + self._kem_ciphertext + self._handshake.write_message(payload)

    def _receive_handshake(self, message: bytes) -> None:
        assert self._handshake is not None
        _require_empty(self._handshake.read_message(message))
        self._check_relay(self._handshake.remote_static)
        if not self._handshake.finished:
            self._reply = self._handshake.write_message(self._hello)
        self.handshake_hash = self._handshake.handshake_hash
        self._finish_handshake()

    def _check_relay(self, shown: bytes | None) -> None:
        assert shown is not None
        # A public key: plain comparison gives nothing away.
        if self._expected is not None and shown != self._expected:
            raise PeerFault("the relay showed another static key than expected", CloseCode.HANDSHAKE_FAILED)
        self.remote_static = shown


def _require_empty(payload: bytes) -> None:
    """Only Hello has something to say during the handshake; what else is there, nobody would have checked."""
    if payload:
        raise PeerFault("a handshake message carries a payload that it may not have")
