"""HandshakeState: one side of one handshake, stepped a message at a time (section 5.3)."""

from collections.abc import Sequence
from enum import Enum
from typing import NoReturn

from varde_contract.errors import NoiseFault, NoiseMisuse
from varde_contract.limits import NOISE_MESSAGE_BYTES, NOISE_TAG_BYTES
from varde_contract.noise.keys import KEY_BYTES, PSK_BYTES, KeyPair
from varde_contract.noise.patterns import Pattern, Token
from varde_contract.noise.primitives import Octets
from varde_contract.noise.protocol_name import read_name
from varde_contract.noise.symmetric import SymmetricState
from varde_contract.noise.transport import Transport


class _Stage(Enum):
    RUNNING = "the handshake is not finished"
    FINISHED = "the handshake is finished"
    SPLIT = "the handshake was already split"
    FAILED = "the handshake has failed; start a new one"


class Handshake:
    """One side of a Noise handshake.

    Args:
        protocol_name: for example "Noise_IK_25519_ChaChaPoly_SHA256"; both sides must mean the same.
        initiator: whether this side writes the first message.
        prologue: what both sides must agree on although it is not sent.
        s: our static key pair, exactly when the pattern gives this side one.
        rs: the peer's static public key, exactly when the pattern wants it known beforehand. Where it is transmitted
            instead, compare `remote_static` afterwards: a key given here in vain would look like a check.
        psks: the 32-byte pre-shared keys, one for each psk modifier, in the order of the modifiers.
        e: our ephemeral key pair, for test vectors only; anything but a fresh one breaks every promise of Noise.

    Raises NoiseMisuse for a name that is not implemented and for keys that do not fit it.
    """

    __slots__ = ("_initiator", "_named", "_own", "_peer", "_psks", "_stage", "_step", "_symmetric")

    def __init__(
        self,
        protocol_name: str,
        *,
        initiator: bool,
        prologue: bytes = b"",
        s: KeyPair | None = None,
        rs: bytes | None = None,
        psks: Sequence[bytes] = (),
        e: KeyPair | None = None,
    ) -> None:
        self._named = read_name(protocol_name)
        _check_keys(self._named.pattern, initiator=initiator, s=s, rs=rs, psks=psks)
        self._initiator = initiator
        self._own = {letter: pair for letter, pair in (("s", s), ("e", e)) if pair is not None}
        self._peer = {} if rs is None else {"s": bytes(rs)}
        self._psks = list(psks)
        self._symmetric = SymmetricState(self._named)
        self._symmetric.mix_hash(prologue)
        for party in (True, False):
            if self._named.pattern.known(initiator=party):
                self._symmetric.mix_hash(self._own["s"].public if party is initiator else self._peer["s"])
        self._step = 0
        self._stage = _Stage.RUNNING

    def write_message(self, payload: bytes = b"") -> bytes:
        """Our next message; the payload is as secret and as authentic as the pattern makes it by then (section 7.7).

        Raises NoiseMisuse out of turn or when the message would pass 65,535 bytes, NoiseFault when a key of the peer
        leads to no shared secret.
        """
        try:
            return self._write(payload)
        # An interrupt, too: keys that were mixed in by half must not be used for anything.
        except BaseException:
            self._poison()
            raise

    def read_message(self, message: Octets) -> bytes:
        """The payload of the peer's next message.

        Raises NoiseFault when it is too short, too long, does not authenticate or holds a key that leads to no shared
        secret, and NoiseMisuse out of turn.
        """
        try:
            return self._read(message)
        except BaseException:
            self._poison()
            raise

    def split(self) -> Transport:
        """The transport of a finished handshake, once; afterwards only the hash and the remote static key remain."""
        try:
            self._require(_Stage.FINISHED)
            return self._split()
        except BaseException:
            self._poison()
            raise

    @property
    def finished(self) -> bool:
        """Whether every message was written and read."""
        return self._stage in {_Stage.FINISHED, _Stage.SPLIT}

    @property
    def my_turn(self) -> bool:
        """Whether the next call is `write_message`."""
        return self._stage is _Stage.RUNNING and self._initiator == (self._step % 2 == 0)

    @property
    def handshake_hash(self) -> bytes:
        """Names this handshake and no other, for channel binding (section 11.2); NoiseMisuse before it is finished."""
        if not self.finished:
            raise NoiseMisuse(self._stage.value)
        return self._symmetric.handshake_hash

    @property
    def remote_static(self) -> bytes:
        """The peer's static public key, known once it was received.

        That it is the peer's is proven when the handshake is finished and, for the side that wrote the last message,
        when the first transport message has opened: before that, a responder of IK may be talking to a recording.
        Raises NoiseMisuse while it is not known, after a failure, and where the pattern has none.
        """
        if "s" not in self._peer:
            raise NoiseMisuse("the peer's static key is not known")
        return self._peer["s"]

    def __reduce__(self) -> NoReturn:
        """Refuse copies and pickles: two handshakes with one ephemeral key would give each other's secrets away."""
        raise NoiseMisuse("a handshake cannot be copied")

    def _write(self, payload: bytes) -> bytes:
        message = b"".join([self._write_token(token) for token in self._tokens(writing=True)])
        message += self._symmetric.encrypt_and_hash(payload)
        if len(message) > NOISE_MESSAGE_BYTES:
            raise NoiseMisuse(f"a Noise message has at most {NOISE_MESSAGE_BYTES} bytes")
        self._advance()
        return message

    def _write_token(self, token: Token) -> bytes:
        match token:
            case "e":
                if "e" not in self._own:
                    self._own["e"] = KeyPair.generate()
                self._mix_ephemeral(self._own["e"].public)
                return self._own["e"].public
            case "s":
                return self._symmetric.encrypt_and_hash(self._own["s"].public)
            case _:
                self._mix(token)
                return b""

    def _read(self, message: Octets) -> bytes:
        tokens = self._tokens(writing=False)
        if len(message) > NOISE_MESSAGE_BYTES:
            raise NoiseFault("a handshake message was too long")
        rest = bytes(message)
        for token in tokens:
            rest = self._read_token(token, rest)
        payload = self._symmetric.decrypt_and_hash(rest)
        self._advance()
        return payload

    def _read_token(self, token: Token, rest: bytes) -> bytes:
        match token:
            case "e":
                self._peer["e"], rest = _take(rest, KEY_BYTES)
                self._mix_ephemeral(self._peer["e"])
            case "s":
                sent, rest = _take(rest, KEY_BYTES + NOISE_TAG_BYTES if self._symmetric.has_key else KEY_BYTES)
                self._peer["s"] = self._symmetric.decrypt_and_hash(sent)
            case _:
                self._mix(token)
        return rest

    def _mix_ephemeral(self, public: bytes) -> None:
        self._symmetric.mix_hash(public)
        if self._named.pattern.psks:  # the ephemeral makes the keys after a psk fresh (section 9.2)
            self._symmetric.mix_key(public)

    def _mix(self, token: Token) -> None:
        """What puts nothing on the wire: a psk or a Diffie-Hellman of two keys that both sides have by now."""
        match token:
            case "psk":
                self._symmetric.mix_key_and_hash(self._psks.pop(0))
            case _:
                mine, theirs = (token[0], token[1]) if self._initiator else (token[1], token[0])
                self._symmetric.mix_key(self._own[mine].exchange(self._peer[theirs]))

    def _tokens(self, *, writing: bool) -> tuple[Token, ...]:
        self._require(_Stage.RUNNING)
        if self.my_turn is not writing:
            raise NoiseMisuse("it is the peer's turn to write" if writing else "it is our turn to write")
        return self._named.pattern.messages[self._step]

    def _advance(self) -> None:
        self._step += 1
        if self._step == len(self._named.pattern.messages):
            self._stage = _Stage.FINISHED
            # With the ephemeral private key, a recording of this connection could be decrypted later.
            self._own.clear()
            self._peer.pop("e", None)

    def _split(self) -> Transport:
        forth, back = self._symmetric.split()
        self._stage = _Stage.SPLIT
        backward = None if self._named.pattern.one_way else back
        outgoing, incoming = (forth, backward) if self._initiator else (backward, forth)
        return Transport(self._named.cipher, outgoing=outgoing, incoming=incoming)

    def _require(self, stage: _Stage) -> None:
        if self._stage is not stage:
            raise NoiseMisuse(self._stage.value)

    def _poison(self) -> None:
        self._stage = _Stage.FAILED
        self._symmetric.forget()
        self._own.clear()
        self._peer.clear()
        self._psks.clear()


def _take(rest: bytes, size: int) -> tuple[bytes, bytes]:
    if len(rest) < size:
        raise NoiseFault("a handshake message was too short")
    return rest[:size], rest[size:]


def _check_keys(
    pattern: Pattern, *, initiator: bool, s: KeyPair | None, rs: bytes | None, psks: Sequence[bytes]
) -> None:
    side = "initiator" if initiator else "responder"
    for key, given, wanted in (
        ("a static key pair", s is not None, pattern.static(initiator=initiator)),
        ("the peer's static key beforehand", rs is not None, pattern.known(initiator=not initiator)),
    ):
        if given is not wanted:
            raise NoiseMisuse(f"the {side} of this pattern {'needs' if wanted else 'does not use'} {key}")
    if rs is not None and len(rs) != KEY_BYTES:
        raise NoiseMisuse(f"a static public key is {KEY_BYTES} bytes")
    if len(psks) != pattern.psks or any(len(psk) != PSK_BYTES for psk in psks):
        raise NoiseMisuse(f"this pattern takes {pattern.psks} pre-shared keys of {PSK_BYTES} bytes")
