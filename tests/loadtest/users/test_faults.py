"""What a server may do to a user: refuse, fall silent, break off, break the protocol.

Each connection follows a script; what the user makes of it is read from the ledger and from the server.
"""

import socket
import ssl
import struct
import threading
from pathlib import Path

import pytest
from websockets.frames import Opcode

from chaos.certificates import Authority, issue
from loadtest.client.protocol import Ending
from loadtest.scenarios.plan import Behaviour, Sizes
from loadtest.users import relay_user
from tests.cast import alice_phone, bob_phone
from tests.loadtest.users.recording import wait_until
from tests.loadtest.users.running_users import RunningUsers, open_users
from tests.loadtest.users.scripted import CONVERSATION, Peer, Script, open_scripted
from varde_contract import frames as f
from varde_contract.ids import ClientId
from varde_contract.refusals import RefusalCode

RST = struct.pack("ii", 1, 0)


def reset(peer: Peer) -> None:
    """Break the connection off as the kernel of a dead machine does."""
    peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST)


def asked_and_reset(peer: Peer) -> None:
    """The same once the request has come: either its sending is told of the reset, or what reads sees an end."""
    peer.read_request()
    reset(peer)


def send(running: RunningUsers, count: int = 1) -> None:
    """Have the only user say so many messages."""
    wait_until(lambda: len(running.population.ready) == 1)
    for _ in range(count):
        assert running.users[0].device.send(running.population.clock.now_ns())


def listens(peer: Peer) -> None:
    """Let the user in, and hear it without a word."""
    peer.join()
    peer.hear_end()


def answers(octets: bytes) -> Script:
    """Answer the request with these bytes."""

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.sock.sendall(octets)
        peer.hear_end()

    return script


def upgraded(octets: bytes) -> Script:
    """Open the WebSocket, take the handshake, and say this in it."""

    def script(peer: Peer) -> None:
        peer.greet()
        peer.sock.sendall(octets)
        peer.hear_end()

    return script


@pytest.mark.parametrize(
    ("script", "word"),
    [
        (asked_and_reset, "reset"),
        (Peer.read_request, "eof"),
        (answers(b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 60\r\n\r\n"), "503"),
        (answers(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), "fault"),
        (answers(b"x" * 20_000), "fault"),
    ],
    ids=["reset", "eof", "refused", "not HTTP", "endless"],
)
def test_a_connection_that_does_not_come_about_is_booked(script: Script, word: str) -> None:
    """Each way not to reach Welcome has its word, and the user is not connected."""
    with open_scripted(script) as server, open_users(server.crowd(alice_phone)) as running:
        running.enter()
        wait_until(lambda: running.ledger.told("connect_failed"))
        assert set(running.ledger.told("connect_failed")) == {(word,)}
        assert running.population.connected == 0
        assert running.ledger.told("connected") == []


def test_nobody_listens() -> None:
    """A refused connection is booked as that."""
    with open_scripted(reset) as server:
        crowd = server.crowd(alice_phone)
    with open_users(crowd) as running:
        running.enter()
        wait_until(lambda: running.ledger.told("connect_failed"))
        assert running.ledger.told("connect_failed")[0] == ("refused",)


@pytest.mark.parametrize(
    ("octets", "word"),
    [
        (b"\x82\x82mask12", "fault"),
        (b"\x02\x01f", "fault"),
        (b"\x81\x02hi", "fault"),
        (b"\x82\x7f" + (1 << 40).to_bytes(8, "big"), "fault"),
        (b"\x82\x7e" + (0xFFFF).to_bytes(2, "big") + bytes(0xFFFF), "fault"),
        (b"\x82\x20" + bytes(32), "fault"),
        (b"\x88\x01\x03", "fault"),
        (b"\x88\x02\xff\xff", "fault"),
        (b"\x88\x00", "1005"),
        (b"\x88\x02\x03\xf3", "1011"),
        (b"\x88\x0a\x0f\xa2overload", "4002"),
    ],
    ids=["masked", "fragment", "text", "endless", "long", "forged", "half code", "no code", "empty", "1011", "4002"],
)
def test_how_a_connection_ended_is_booked(octets: bytes, word: str) -> None:
    """A server that breaks a protocol is booked as at fault, one that closes by its code, and the user goes on."""
    with open_scripted(upgraded(octets)) as server, open_users(server.crowd(alice_phone)) as running:
        running.enter()
        wait_until(lambda: running.ledger.told("closed"))
        assert running.ledger.told("closed")[0] == (word,)
        wait_until(lambda: len(server.peers) > 1)


def test_a_frame_out_of_place_is_a_fault() -> None:
    """The relay's second Welcome is answered with 4103."""

    def script(peer: Peer) -> None:
        peer.greet()
        peer.send_message(peer.session.seal(b"\x91" + b"\x91\xa6nobody"))
        peer.hear_end()

    with open_scripted(script) as server, open_users(server.crowd(alice_phone)) as running:
        running.enter()
        wait_until(lambda: running.ledger.told("closed") and server.peers[0].closed_with)
        assert running.ledger.told("closed")[0] == ("fault",)
        assert server.peers[0].closed_with == 4103


def test_a_ping_is_answered() -> None:
    """Every ping is answered with its own content."""

    def script(peer: Peer) -> None:
        peer.join()
        peer.send_message(b"one", Opcode.PING)
        peer.send_message(b"", Opcode.PING)
        peer.ack(peer.hear(f.Send), 1)
        peer.hear_end()

    with open_scripted(script) as server, open_users(server.crowd(alice_phone)) as running:
        running.enter()
        send(running)
        wait_until(lambda: len(server.peers[0].pongs) == 2)
        assert server.peers[0].pongs == [b"one", b""]


def test_a_send_without_an_answer_is_said_again() -> None:
    """After a connection was lost, each unanswered send is said again in order, with the client id it had."""
    said: list[list[f.Send]] = []

    def script(peer: Peer) -> None:
        peer.join()
        said.append([peer.hear(f.Send) for _ in range(2)])
        if peer.number == 0:
            reset(peer)
            return
        for seq, each in enumerate(said[-1], 1):
            peer.ack(each, seq)
        peer.hear_end()

    with open_scripted(script) as server, open_users(server.crowd(alice_phone)) as running:
        running.enter()
        send(running, 2)
        wait_until(lambda: len(running.ledger.told("ack")) == 2)
        assert said[0] == said[1]
        assert running.ledger.told("resend") == [(0, 0, 1), (0, 0, 2)]
        assert running.ledger.told("ack") == [(0, 0, 1), (0, 0, 2)]
        assert running.ledger.told("closed")[0] == ("reset",)


def test_a_send_that_may_be_stored_is_said_again() -> None:
    """`unavailable` is no answer: the commit may have been done. Neither is another refusal, when it was said again."""
    said: list[ClientId] = []

    def script(peer: Peer) -> None:
        peer.join()
        for code in (RefusalCode.UNAVAILABLE, RefusalCode.OVERLOADED):
            said.append(peer.hear(f.Send).client_id)
            peer.say(f.RefusedFrame("msg:send", said[-1], code, "later", 5))
        again = peer.hear(f.Send)
        said.append(again.client_id)
        peer.ack(again, 1)
        peer.hear_end()

    with open_scripted(script) as server, open_users(server.crowd(alice_phone)) as running:
        running.enter()
        send(running)
        wait_until(lambda: running.ledger.told("ack"))
        assert running.ledger.told("refuse") == []
        assert running.ledger.told("resend") == [(0, 0, 1)] * 2
        assert said == [said[0]] * 3


def test_a_refused_send_is_booked_and_not_said_again() -> None:
    """`refused` is an answer: the code is booked, and a stale roster's version is used from then on."""
    versions: list[int] = []

    def script(peer: Peer) -> None:
        peer.join()
        first = peer.hear(f.Send)
        peer.say(f.RefusedFrame("msg:send", first.client_id, RefusalCode.RATE_LIMITED, "slower", 5))
        peer.say(f.Changed(f.ChangeKind.MEMBERSHIP, CONVERSATION, 9))
        versions.extend([first.roster_version, peer.hear(f.Send).roster_version])
        reset(peer)

    with open_scripted(script) as server, open_users(server.crowd(alice_phone)) as running:
        running.enter()
        send(running)
        wait_until(lambda: running.ledger.told("refuse"))
        assert running.ledger.told("refuse") == [(0, 0, 1, "rate-limited")]
        room = running.population.conversations.get(CONVERSATION.int)
        assert room is not None
        wait_until(lambda: room.version == 9)
        send(running)
        wait_until(lambda: len(versions) == 2)
        assert versions == [1, 9]


def test_what_is_told_again_is_dropped_and_what_is_repeated_is_not() -> None:
    """A new connection may tell numbers again; within one, a repeat or a step back is the server's and is booked."""
    sends: list[f.Send] = []

    def script(peer: Peer) -> None:
        peer.join()
        if peer.number == 0:
            sends.append(peer.hear(f.Send))
            peer.deliver(sends[0], 1)
            peer.deliver(sends[0], 1)
            peer.say(f.Gap(CONVERSATION, 2, 4, f.GapReason.EXPIRED))
            peer.ack(sends[0], 5)
            return
        peer.deliver(sends[0], 1)
        peer.say(f.Gap(CONVERSATION, 2, 5, f.GapReason.EXPIRED))
        peer.deliver(sends[0], 6)
        peer.hear_end()

    with open_scripted(script) as server, open_users(server.crowd(alice_phone)) as running:
        running.enter()
        send(running)
        wait_until(lambda: len(running.ledger.told("receive")) == 3)
        assert running.ledger.told("receive") == [(0, 0, 0, 1)] * 3
        assert running.ledger.told("gap") == [(0, 0, 3, "expired"), (0, 0, 1, "expired")]


def test_confirmations_gather() -> None:
    """One `receipt:delivered` is for all that came, but never for more than 32."""
    uptos: list[int] = []

    def script(peer: Peer) -> None:
        peer.join()
        first = peer.hear(f.Send)
        peer.ack(first, 41)
        for seq in range(1, 41):
            peer.deliver(first, seq)
        uptos.extend(peer.hear(f.Delivered).upto for _ in range(2))
        peer.hear_end()

    with open_scripted(script) as server, open_users(server.crowd(alice_phone)) as running:
        running.enter()
        send(running)
        wait_until(lambda: len(uptos) == 2)
        assert uptos == [32, 40]


def test_goaway_is_followed() -> None:
    """The user leaves within the time that was named, with 1000, and connects again."""

    def script(peer: Peer) -> None:
        peer.join()
        if peer.number == 0:
            peer.say(f.Goaway(4000, 50, 50))
        peer.hear_end()

    with open_scripted(script) as server, open_users(server.crowd(alice_phone)) as running:
        running.enter()
        wait_until(lambda: running.ledger.told("connected") == [(False,), (True,)])
        assert server.peers[0].closed_with == 1000
        assert running.ledger.told("leave") == []


def test_silence_ends_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who hears nothing for so many heartbeats comes again; who is deaf does not notice."""
    monkeypatch.setattr(relay_user, "SILENT_HEARTBEATS", 0.002)  # of 25 seconds
    behaviours = ((Behaviour.STEADY, 0.5), (Behaviour.DEAF, 0.5))
    with (
        open_scripted(listens) as server,
        open_users(server.crowd(alice_phone, bob_phone), behaviours=behaviours) as running,
    ):
        running.enter(2)
        wait_until(lambda: running.users[1].device.deaf)
        wait_until(lambda: len(running.ledger.told("closed")) == 2)
        assert set(running.ledger.told("closed")) == {("silence",)}
        assert running.users[1].device.ending is None


def test_a_handshake_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever takes a connection and says nothing is booked as a timeout."""
    monkeypatch.setattr(relay_user, "CONNECT_SECONDS", 0.05)
    with open_scripted(Peer.hear_end) as server, open_users(server.crowd(alice_phone)) as running:
        running.enter()
        wait_until(lambda: running.ledger.told("connect_failed"))
        assert running.ledger.told("connect_failed")[0] == ("timeout",)


def test_what_the_kernel_does_not_take_is_kept() -> None:
    """Sending never waits: what a server does not read is sent when it does, whole and in order."""
    advance, heard = threading.Event(), list[f.Send]()

    def script(peer: Peer) -> None:
        peer.join()
        advance.wait(20)
        heard.extend(peer.hear(f.Send) for _ in range(300))
        peer.ack(heard[-1], 1)
        peer.hear_end()

    large = Sizes(((40_000, 1.0),))
    with open_scripted(script) as server, open_users(server.crowd(alice_phone), payloads=large) as running:
        running.enter()
        send(running, 300)
        advance.set()
        wait_until(lambda: running.ledger.told("ack"))
        assert running.ledger.told("ack") == [(0, 0, 300)]
        running.users[0].device.end(Ending("reset"))


def test_a_user_takes_only_so_much_that_nobody_answers() -> None:
    """Beyond a bound of unanswered sends a user says no, and nothing is booked."""
    with open_scripted(listens) as server, open_users(server.crowd(alice_phone)) as running:
        running.enter()
        send(running, 1_024)
        assert not running.users[0].device.send(0)
        assert len(running.ledger.told("draw")) == 1_024
        running.users[0].device.end(Ending("reset"))


def test_tls_is_spoken_to_whom_the_context_trusts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a `wss` URL everything travels in TLS, and a server of an unknown authority is at fault."""
    authority = Authority()
    (tmp_path / "authority.pem").write_bytes(authority.pem())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*issue(authority, tmp_path))

    def script(peer: Peer) -> None:
        peer.join()
        peer.ack(peer.hear(f.Send), 1)
        peer.hear_end()

    with open_scripted(script, context) as server:
        with open_users(server.crowd(alice_phone)) as running:
            running.enter()
            wait_until(lambda: running.ledger.told("connect_failed"))
            assert running.ledger.told("connect_failed")[0] == ("fault",)
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
        with open_users(server.crowd(bob_phone)) as running:
            running.enter()
            send(running)
            wait_until(lambda: running.ledger.told("ack"))
        assert running.ledger.told("closed") == [("1000",)]
