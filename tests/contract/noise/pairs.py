"""Two sides of one handshake in memory, and the loop that carries messages between them."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from varde_contract.noise import Handshake, KeyPair, NoiseFault, NoiseMisuse, Transport
from varde_contract.noise.protocol_name import read_name

ALICE = KeyPair.from_private(bytes(range(32)))
BOB = KeyPair.from_private(bytes(range(32, 64)))
MALLORY = KeyPair.from_private(bytes(range(64, 96)))

XX = "Noise_XX_25519_ChaChaPoly_SHA256"
IK = "Noise_IK_25519_ChaChaPoly_SHA256"
NN = "Noise_NN_25519_ChaChaPoly_SHA256"
PAYLOAD = b"payload"

FAULTS = {
    "a handshake message did not authenticate",
    "a handshake message was too short",
    "a handshake message was too long",
    "the peer's public key leads to no shared secret",
    "a transport message did not authenticate",
    "a transport message was too short or too long",
}
"""Every text a NoiseFault can have: none can hold a byte of a key or a message."""


class Pair(NamedTuple):
    """Alice, who begins, and Bob, who answers."""

    initiator: Handshake
    responder: Handshake

    @property
    def writer(self) -> Handshake:
        """Whose turn it is."""
        return self.initiator if self.initiator.my_turn else self.responder

    @property
    def reader(self) -> Handshake:
        """Who waits for the writer."""
        return self.responder if self.initiator.my_turn else self.initiator

    @property
    def both_finished(self) -> bool:
        """Whether both sides believe in the handshake."""
        return self.initiator.finished and self.responder.finished


def psks_of(name: str) -> list[bytes]:
    """As many pre-shared keys as the pattern takes."""
    return [bytes((0x50 + number,)) * 32 for number in range(read_name(name).pattern.psks)]


def open_side(name: str, *, initiator: bool, prologue: bytes = b"test", e: KeyPair | None = None) -> Handshake:
    """Alice's or Bob's side with every key its pattern asks for."""
    pattern = read_name(name).pattern
    own, peer = (ALICE, BOB) if initiator else (BOB, ALICE)
    return Handshake(
        name,
        initiator=initiator,
        prologue=prologue,
        s=own if pattern.static(initiator=initiator) else None,
        rs=peer.public if pattern.known(initiator=not initiator) else None,
        psks=psks_of(name),
        e=e,
    )


def open_pair(name: str) -> Pair:
    """Both sides, agreed on everything."""
    return Pair(open_side(name, initiator=True), open_side(name, initiator=False))


def steps(pair: Pair) -> Iterator[int]:
    """The numbers of the messages, from 0, for as long as somebody has a turn."""
    step = 0
    while pair.initiator.my_turn or pair.responder.my_turn:
        yield step
        step += 1


def finish(pair: Pair) -> list[bytes]:
    """Carry every message faithfully; gives back what travelled."""
    sent = []
    for _ in steps(pair):
        writer, reader = pair.writer, pair.reader
        sent.append(writer.write_message(PAYLOAD))
        assert reader.read_message(sent[-1]) == PAYLOAD
    return sent


def connect(name: str) -> tuple[Transport, Transport]:
    """The initiator's and the responder's transport after a faithful handshake."""
    pair = open_pair(name)
    finish(pair)
    return pair.initiator.split(), pair.responder.split()


def refuse(name: str, target: int, tamper: Callable[[bytes, list[bytes]], bytes]) -> None:
    """Carry a handshake in which one message is tampered with, and judge that it comes to nothing.

    `tamper` gets the message and those that travelled before it. The fault must show at the target or the next message.
    """
    pair = open_pair(name)
    sent: list[bytes] = []
    for step in steps(pair):
        writer, reader = pair.writer, pair.reader
        try:
            message = writer.write_message(PAYLOAD)
        except NoiseFault as fault:  # a key that came with the target is of no use to the side that must answer
            return judge(pair, writer, fault, in_time=step == target + 1)
        sent.append(message)
        try:
            reader.read_message(tamper(message, sent[:-1]) if step == target else message)
        except NoiseFault as fault:
            return judge(pair, reader, fault, in_time=step in {target, target + 1})
    pytest.fail(f"{name} finished although message {target} was tampered with")


def judge(pair: Pair, victim: Handshake, fault: NoiseFault, *, in_time: bool) -> None:
    """A fault came in time, says nothing secret, and left its side empty and the pair without agreement."""
    assert in_time
    assert str(fault) in FAULTS
    assert fault.__suppress_context__ or fault.__context__ is None
    assert not pair.both_finished
    assert_poisoned(victim)


def assert_poisoned(handshake: Handshake) -> None:
    """Nothing can be done with the handshake any more, and nothing can be learned from it."""
    assert not handshake.finished
    assert not handshake.my_turn
    for call in (
        handshake.write_message,
        lambda: handshake.read_message(bytes(96)),
        handshake.split,
        lambda: handshake.handshake_hash,
        lambda: handshake.remote_static,
    ):
        with pytest.raises(NoiseMisuse):
            call()
    assert not handshake._own
    assert not handshake._peer
    assert not handshake._psks
    assert not handshake._symmetric._chaining_key
    assert not handshake._symmetric.has_key


def assert_transport_ended(transport: Transport) -> None:
    """Neither direction does anything any more, and neither counter is shown."""
    for call in (
        lambda: transport.seal(b""),
        lambda: transport.open(bytes(32)),
        transport.rekey_outgoing,
        transport.rekey_incoming,
        lambda: transport.outgoing_nonce,
        lambda: transport.incoming_nonce,
    ):
        with pytest.raises(NoiseMisuse, match="has failed"):
            call()
