"""TLS that ends in the relay, over sockets: other people's clients, and those that break off or never begin."""

import signal
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import trio

from chaos.certificates import Authority, issue
from domain.ports import Stores
from domain.talk import model as talk
from settings.tls import TlsFiles
from simulation.stores import open_memory_stores
from simulation.stores.bus import RecordingBus
from simulation.stores.interference import Interference
from simulation.stores.memory import Memory
from storage.embedded.os_user import choose_os_user
from storage.program import read_clock
from tests.cast import alice, alice_laptop, bob, bob_phone, open_conversation, settle
from tests.relay.library_clients import LIBRARIES, OpenClient, open_with_trio_websocket, open_with_websockets
from tests.relay.memory_node import Sends
from tests.relay.program import Program, open_roster, open_stores
from tests.relay.tcp_node import TcpNode, open_tcp_node
from tls.certificate import TlsCertificate
from varde_contract import frames as f

HEALTH = b"GET /v1/health HTTP/1.1\r\nHost: relay.test\r\n\r\n"


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """An authority that every client of this test trusts, as one does in development: by SSL_CERT_FILE."""
    authority = Authority()
    (tmp_path / "authority.pem").write_bytes(authority.pem())
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    return authority


@pytest.fixture
def files(authority: Authority, tmp_path: Path) -> TlsFiles:
    """A certificate and its key."""
    return TlsFiles(*issue(authority, tmp_path))


@pytest.fixture
def certificate(files: TlsFiles) -> TlsCertificate:
    """What the node shows."""
    return TlsCertificate(files, read_clock)


@pytest.fixture
async def stores() -> Stores:
    """Alice and Bob are known."""
    stores = open_memory_stores(interference=Interference(), bus=RecordingBus(), memory=Memory())
    await settle(stores, alice, bob)
    return stores


@pytest.fixture
async def roster(stores: Stores) -> talk.Roster:
    """They have a conversation."""
    conversation = await open_conversation(stores, alice, bob)
    return (await stores.conversations.rosters([conversation]))[conversation]


@pytest.fixture
async def node(stores: Stores, roster: talk.Roster, certificate: TlsCertificate) -> AsyncIterator[TcpNode]:
    """A node in which TLS ends. It has little patience with handshakes."""
    async with open_tcp_node(stores, certificate=certificate, frames_per_second=100_000) as node:
        yield node


async def open_tls(node: TcpNode, authority: Authority) -> trio.SSLStream[trio.SocketStream]:
    """A bare TLS stream that is strict about goodbyes."""
    stream = await node.open_stream()
    return trio.SSLStream(stream, authority.trusting(), server_hostname="127.0.0.1", https_compatible=False)


async def read_all(stream: trio.abc.ReceiveStream) -> bytes:
    """Read to the end of a stream."""
    return b"".join([piece async for piece in stream])


@pytest.mark.parametrize("open_client_with", LIBRARIES)
async def test_a_message_travels_over_tls(
    node: TcpNode, roster: talk.Roster, sends: Sends, open_client_with: OpenClient
) -> None:
    """Handshake, join, send, ack, delivery and receipt, with libraries that are not ours."""
    assert node.url.startswith("wss://")
    async with (
        open_client_with(node.url, node.credentials(alice_laptop)) as laptop,
        open_with_websockets(node.url, node.credentials(bob_phone)) as phone,
    ):
        for client in (laptop, phone):
            await client.connect()
            await client.send(f.Join())
            await client.wait_for(f.Joined)
        await laptop.send(sends.each(roster, alice, alice_laptop))
        assert (await laptop.wait_for(f.Ack)).seq == 1
        assert (await phone.wait_for(f.New)).ciphertext == b"sealed for " + bob_phone.id.bytes
        await phone.send(f.Delivered(roster.conversation, 1))
        assert (await laptop.wait_for(f.DeliveredBy)).upto == 1


async def test_a_flood_over_tls_arrives_whole_and_in_order(node: TcpNode, roster: talk.Roster, sends: Sends) -> None:
    """Large and small, many records at a time: nothing is lost or reordered between the record and the message."""
    async with (
        open_with_trio_websocket(node.url, node.credentials(alice_laptop)) as laptop,
        open_with_websockets(node.url, node.credentials(bob_phone)) as phone,
    ):
        for client in (laptop, phone):
            await client.connect()
            await client.send(f.Join())
            await client.wait_for(f.Joined)
        sent = [sends.group(roster, alice) for _ in range(500)]
        async with trio.open_nursery() as nursery:
            for begin in range(0, 500, 50):
                nursery.start_soon(laptop.send, *sent[begin : begin + 50])
            heard = [await phone.wait_for(f.New) for _ in range(500)]
        assert [new.seq for new in heard] == list(range(1, 501))


async def test_http_over_tls_ends_with_goodbye(node: TcpNode, authority: Authority) -> None:
    """A load balancer's question is answered, and the end is close_notify before the end of the stream."""
    async with await open_tls(node, authority) as stream:
        await stream.send_all(HEALTH)
        answer = await read_all(stream)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"alive\n")


async def test_who_has_said_goodbye_still_gets_an_answer(node: TcpNode, authority: Authority) -> None:
    """A client may ask, close its side, of TLS and of TCP, and read on."""
    raw = await node.open_stream()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = authority.trusting().wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    await raw.send_all(outgoing.read())
    while True:
        incoming.write(await raw.receive_some())
        try:
            client.do_handshake()
        except ssl.SSLWantReadError:
            continue
        break
    client.write(HEALTH)
    with pytest.raises(ssl.SSLWantReadError):
        client.unwrap()
    await raw.send_all(outgoing.read())
    await raw.send_eof()
    incoming.write(await read_all(raw))
    assert client.read(65_536).startswith(b"HTTP/1.1 200 ")
    await raw.aclose()


async def test_plain_http_on_the_tls_port_is_a_clean_end(node: TcpNode) -> None:
    """Whoever forgot the s is not kept waiting, and not a byte is said in the clear."""
    async with await node.open_stream() as stream:
        await stream.send_all(HEALTH)
        assert await read_all(stream) == b""


async def test_tls_1_2_gets_its_alert(node: TcpNode, authority: Authority) -> None:
    """The reason reaches the client."""
    raw = await node.open_stream()
    old = authority.trusting(maximum_version=ssl.TLSVersion.TLSv1_2)
    stream = trio.SSLStream(raw, old, server_hostname="127.0.0.1")
    with pytest.raises(trio.BrokenResourceError) as broken:
        await stream.do_handshake()
    assert "PROTOCOL_VERSION" in str(broken.value.__cause__).upper()
    await trio.aclose_forcefully(stream)


@pytest.mark.parametrize("said", [b"", b"\x16", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"])
async def test_a_handshake_that_never_ends_is_cut(stores: Stores, certificate: TlsCertificate, said: bytes) -> None:
    """Silence, one byte or half a first message: the deadline of the handshake is that of TLS, too."""
    async with (
        open_tcp_node(stores, certificate=certificate, handshake_deadline=0.1) as node,
        await node.open_stream() as stream,
    ):
        if said:
            await stream.send_all(said)
        assert await read_all(stream) == b""


async def test_who_has_tls_and_asks_for_nothing_is_timed_out(
    stores: Stores, certificate: TlsCertificate, authority: Authority
) -> None:
    """The same deadline, and now there is a way to say so."""
    async with (
        open_tcp_node(stores, certificate=certificate, handshake_deadline=0.5) as node,
        await open_tls(node, authority) as stream,
    ):
        await stream.do_handshake()
        assert (await read_all(stream)).startswith(b"HTTP/1.1 408 ")


async def test_who_vanishes_in_the_middle_disturbs_nobody(
    node: TcpNode, authority: Authority, roster: talk.Roster, sends: Sends
) -> None:
    """Resets in the handshake and in the middle of a record are the end of one connection."""
    async with open_with_websockets(node.url, node.credentials(alice_laptop)) as laptop:
        await laptop.connect()
        for stream in (await node.open_stream(), await open_tls(node, authority)):
            raw = stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
            if isinstance(stream, trio.SSLStream):
                await stream.do_handshake()
            await raw.send_all(b"\x17\x03\x03\x01\x00half of it")
            raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            await trio.aclose_forcefully(stream)
        await laptop.send(sends.group(roster, alice))
        assert (await laptop.wait_for(f.Ack)).seq == 1


async def shown(url: str, authority: Authority) -> bytes | None:
    """The certificate that a new connection is shown."""
    host, _, port = url.split("/")[2].rpartition(":")
    stream = trio.SSLStream(await trio.open_tcp_stream(host, int(port)), authority.trusting(), server_hostname=host)
    await stream.do_handshake()
    certificate: bytes | None = stream.getpeercert(binary_form=True)
    await trio.aclose_forcefully(stream)
    return certificate


@pytest.fixture
def program(tmp_path: Path, database_url: str, files: TlsFiles) -> Iterator[Program]:
    """The program itself, with the certificate."""
    program = Program(tmp_path, database_url)
    program.start(VARDE_RELAY_TLS_CERTIFICATE=str(files.certificate), VARDE_RELAY_TLS_KEY=str(files.key))
    yield program
    if program.process is not None:
        program.end(signal.SIGKILL)


def let_read(files: TlsFiles) -> None:
    """Let the user read them that the relay has become after it left root."""
    user = choose_os_user()
    for file in (files.certificate, files.key):
        user.give(file)
    user.let_through(files.key.parent)


async def test_a_certificate_is_renewed_under_a_running_program(
    program: Program, database_url: str, authority: Authority, files: TlsFiles, sends: Sends
) -> None:
    """SIGHUP: newcomers see the new one, who is connected goes on, and a broken file changes nothing."""
    assert program.url.startswith("wss://")
    before = await shown(program.url, authority)
    async with open_stores(database_url) as stores:
        roster = await open_roster(stores)
        async with open_with_websockets(program.url, program.credentials(alice_laptop)) as laptop:
            await laptop.connect()
            issue(authority, files.key.parent)
            let_read(files)
            program.tell(signal.SIGHUP)
            while (after := await shown(program.url, authority)) == before:
                pass  # each look is a connection of its own: the test's timeout is the deadline
            files.certificate.write_bytes(b"broken")
            program.tell(signal.SIGHUP)
            while "the old certificate stays" not in program.log.read_text():
                assert await shown(program.url, authority) == after
            assert await shown(program.url, authority) == after
            await laptop.send(sends.group(roster, alice))
            assert (await laptop.wait_for(f.Ack)).seq == 1
    assert program.end(signal.SIGTERM) == 0
    assert "PRIVATE" not in program.log.read_text()


def test_a_certificate_that_cannot_be_used_is_one_line(tmp_path: Path, bare_database_url: str) -> None:
    """The program ends before it listens, and names the variable."""
    program = Program(tmp_path, bare_database_url)
    key = str(tmp_path / "key.pem")
    with pytest.raises(AssertionError) as error:
        program.start(VARDE_RELAY_TLS_CERTIFICATE=str(tmp_path / "none.pem"), VARDE_RELAY_TLS_KEY=key)
    assert "relay: VARDE_RELAY_TLS_CERTIFICATE: No such file or directory" in str(error.value)
    assert "Traceback" not in str(error.value)
    assert program.wait() == 1
