"""The engine under a plain loop: it connects, sends what it can, keeps the rest, and says how connections end."""

import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos.certificates import Authority, issue
from loadtest.client.epoll import Connection, Engine


class Recorder:
    """A protocol that greets, and remembers."""

    def __init__(self) -> None:
        self.received = b""
        self.ended: list[str] = []

    def open(self) -> bytes:
        """Say something."""
        return b"hello"

    def receive(self, received: bytes) -> bytes:
        """Answer a question."""
        self.received += received
        if not received:
            self.ended.append("eof")
        return b"!" if received.endswith(b"?") else b""

    def lost(self, reason: str) -> None:
        """Remember why."""
        self.ended.append(reason)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Somebody to connect to."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(10)
        yield listening


@pytest.fixture
def engine() -> Iterator[Engine]:
    """An engine that leaves nothing open."""
    opened = Engine()
    yield opened
    opened.close()


def open_connection(engine: Engine, listener: socket.socket) -> tuple[Connection, Recorder, socket.socket]:
    """Both ends, after the first words."""
    recorder = Recorder()
    connection = Connection(engine, recorder)
    connection.connect(listener.getsockname(), source="127.0.1.7")
    engine.poll(5)
    peer, address = listener.accept()
    assert address[0] == "127.0.1.7"
    peer.settimeout(10)
    assert peer.recv(100) == b"hello"
    return connection, recorder, peer


def test_both_sides_talk(engine: Engine, listener: socket.socket) -> None:
    """What comes is handed on, what the protocol answers is sent, and the end of the stream is told once."""
    connection, recorder, peer = open_connection(engine, listener)
    with peer:
        peer.sendall(b"well?")
        engine.poll(5)
        assert recorder.received == b"well?"
        assert peer.recv(100) == b"!"
        connection.send(b"more")
        assert not connection.unsent
        assert peer.recv(100) == b"more"
    engine.poll(5)
    assert recorder.ended == ["eof"]
    assert connection._file < 0
    assert not engine.connections


def test_what_the_kernel_does_not_take_goes_later_in_order(engine: Engine, listener: socket.socket) -> None:
    """A send says that something waits; the engine sends it when the other side reads."""
    connection, _, peer = open_connection(engine, listener)
    whole, pieces = b"".join(number.to_bytes(8, "big") for number in range(1 << 20)), list[bytes]()
    with peer:
        connection.send(whole[: len(whole) // 2])
        assert connection.unsent
        connection.send(whole[len(whole) // 2 :])
        reader = threading.Thread(target=lambda: pieces.extend(iter(lambda: peer.recv(1 << 20), b"")))
        reader.start()
        while connection.unsent:
            engine.poll(5)
        connection.close()
        reader.join(10)
    assert b"".join(pieces) == whole


def test_how_a_connection_breaks_is_told_in_a_word(engine: Engine) -> None:
    """Nobody there is `refused`; and with nothing open, `poll` just returns."""
    recorder = Recorder()
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # and does not listen
        Connection(engine, recorder).connect(held.getsockname())
        engine.poll(5)
    assert recorder.ended == ["refused"]
    engine.poll(0.001)


def test_what_a_protocol_raises_reaches_who_polls(engine: Engine, listener: socket.socket) -> None:
    """Without a handler the exception is the caller's."""
    connection, recorder, peer = open_connection(engine, listener)
    recorder.receive = None  # type: ignore[method-assign,assignment] # what a bug looks like
    with peer:
        peer.sendall(b"x")
        with pytest.raises(TypeError):
            engine.poll(5)
    connection.close()


def test_tls_is_spoken_where_it_is_asked_for(engine: Engine, listener: socket.socket, tmp_path: Path) -> None:
    """The first words come through TLS, and so do the answers."""
    authority = Authority()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(*issue(authority, tmp_path))
    recorder, heard = Recorder(), list[bytes]()

    def serve() -> None:
        peer, _ = listener.accept()
        with server.wrap_socket(peer, server_side=True) as secured:
            heard.append(secured.recv(100))
            secured.sendall(b"well?")
            heard.append(secured.recv(100))

    thread = threading.Thread(target=serve)
    thread.start()
    Connection(engine, recorder).connect(listener.getsockname(), tls=authority.trusting(), host="relay.test")
    while thread.is_alive():
        engine.poll(0.05)
    assert heard == [b"hello", b"!"]
    assert recorder.received == b"well?"
