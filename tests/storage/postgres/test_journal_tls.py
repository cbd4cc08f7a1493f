"""TLS on the journal's own connections, against a real server: what `sslmode` promises, and every way to be refused."""

import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress

import asyncpg
import pytest
import trio

from chaos.certificates import Authority, issue
from domain.ports import StoreUnavailable
from domain.talk import model as talk
from settings.storage import DatabaseUrl, StorageSettings
from storage.database import Connection
from storage.island import Island
from storage.postgres.pool import Timeouts
from storage.postgres.talk.journal import make_commit_connections
from storage.stores import open_storage
from tests.cast import alice, alice_phone, bob, open_conversation, settle
from tests.debian_postgres import GROUP, PASSWORD, DebianPostgres
from tests.storage.conftest import Connect
from tests.store_contracts.messages import draft

pytestmark = pytest.mark.xdist_group(GROUP)

JOURNALS = """
    SELECT coalesce(version, 'plain') FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
    WHERE datname = $1 AND query LIKE '%journal_commit%' AND application_name = 'varde'
"""
CUT = JOURNALS.replace("coalesce(version, 'plain')", "count(pg_terminate_backend(pid))")

Options = Callable[[DebianPostgres], Mapping[str, str]]

WAYS = [
    pytest.param("by_certificate", lambda it: it.trusted | it.files("by_certificate"), "TLSv1.3", id="certificate"),
    pytest.param("by_password", lambda it: it.trusted, "TLSv1.3", id="password"),
    pytest.param("by_password", lambda it: it.trusted | {"sslmode": "verify-ca"}, "TLSv1.3", id="verify-ca"),
    pytest.param("by_password", lambda _: {"sslmode": "require"}, "TLSv1.3", id="require"),
    pytest.param("by_password", lambda _: {}, "TLSv1.3", id="prefer-is-the-default"),
    pytest.param("by_password", lambda _: {"sslmode": "allow"}, "TLSv1.3", id="allow-when-it-must"),
    pytest.param("without_tls", lambda _: {}, "plain", id="prefer-does-without"),
    pytest.param("without_tls", lambda _: {"sslmode": "disable"}, "plain", id="disable"),
    pytest.param("by_password", lambda it: it.trusted | {"ssl_max_protocol_version": "TLSv1.2"}, "TLSv1.2", id="1.2"),
]


@pytest.fixture
async def beside(connect: Connect, debian_postgres: DebianPostgres) -> Connection:
    """A connection that sees who else is there."""
    return await connect(debian_postgres.local)


@pytest.mark.parametrize(("user", "options", "version"), WAYS)
async def test_commits_go_over_one_connection_of_their_own(
    debian_postgres: DebianPostgres,
    debian_database: str,
    island: Island,
    beside: Connection,
    user: str,
    options: Options,
    version: str,
) -> None:
    """As encrypted as the URL asks for, and never over the island: there is no statement of the pool's."""
    url = debian_postgres.url(user, debian_database, **options(debian_postgres))
    async with open_storage(StorageSettings(database=DatabaseUrl(url), pool_min=1, pool_max=2)) as stores:
        await settle(stores, alice, bob)
        room = await open_conversation(stores, alice, bob)
        for number in (1, 2):
            (done,) = await stores.journal.commit([draft(alice_phone, room)])
            assert isinstance(done, talk.Committed)
            assert done.seq == number
        # More than a record carries, both ways.
        done_all = await stores.journal.commit([draft(alice_phone, room) for _ in range(700)])
        assert [each.seq for each in done_all if isinstance(each, talk.Committed)] == list(range(3, 703))
        assert [row[0] for row in await island.run(beside.fetch, JOURNALS, debian_database)] == [version]


async def test_tls_may_come_first(debian_postgres: DebianPostgres, debian_database: str) -> None:
    """`sslnegotiation=direct` saves a round trip, to a server that is newer than Debian's: a front stands in for it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*issue(debian_postgres.authority, debian_postgres.folder / "front"))
    context.set_alpn_protocols(["postgresql"])

    async def pass_on(front: trio.SSLStream[trio.SocketStream]) -> None:
        server = await trio.open_tcp_stream("127.0.0.1", debian_postgres.port)
        async with front, server, trio.open_nursery() as both:
            both.start_soon(pump, front, server)
            await pump(server, front)
            both.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_ssl_over_tcp, pass_on, 0, context)
        there = debian_postgres._replace(port=listeners[0].transport_listener.socket.getsockname()[1])
        options = debian_postgres.trusted | {"sslnegotiation": "direct"}
        url = DatabaseUrl(there.url("without_tls", debian_database, **options))
        async with open_storage(StorageSettings(database=url, pool_min=1, pool_max=2)) as stores:
            await settle(stores, alice, bob)
            room = await open_conversation(stores, alice, bob)
            (done,) = await stores.journal.commit([draft(alice_phone, room)])
            assert isinstance(done, talk.Committed)
        nursery.cancel_scope.cancel()


async def pump(source: trio.abc.Stream, target: trio.abc.Stream) -> None:
    """Pass on what comes."""
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        while received := await source.receive_some():
            await target.send_all(received)


async def test_a_connection_that_died_unused_is_replaced(
    debian_postgres: DebianPostgres, debian_database: str, island: Island, beside: Connection
) -> None:
    """A restart of the database costs no commit, with TLS as without."""
    url = debian_postgres.url("by_password", debian_database, **debian_postgres.trusted)
    async with open_storage(StorageSettings(database=DatabaseUrl(url), pool_min=1, pool_max=2)) as stores:
        await settle(stores, alice, bob)
        room = await open_conversation(stores, alice, bob)
        for number in (1, 2):
            (done,) = await stores.journal.commit([draft(alice_phone, room)])
            assert isinstance(done, talk.Committed)
            assert done.seq == number
            assert await island.run(beside.fetchval, CUT, debian_database) == 1
            with trio.fail_after(30):
                while await island.run(beside.fetch, JOURNALS, debian_database):
                    await trio.lowlevel.checkpoint()


async def take(island: Island, url: str) -> None:
    """Open a connection of the journal's and nothing else, and close it."""
    connections = make_commit_connections(island, url, Timeouts(statement=20))
    connection = await connections.take()
    assert connection is not None
    connection.close()


REFUSED = [
    pytest.param("by_password", lambda it: it.trusted | {"host": "localhost"}, "not valid for 'localhost'", id="name"),
    pytest.param("by_password", lambda it: it.trusted | strange_root(it), "certificate signature failure", id="server"),
    pytest.param("by_certificate", lambda it: it.trusted | strange_files(it), "ALERT|take our", id="stranger"),
    pytest.param("by_certificate", lambda it: it.trusted, "client certificate", id="no-certificate"),
    pytest.param("by_certificate", lambda it: it.trusted | it.files("by_password"), "certificate", id="another's"),
    pytest.param("by_password", lambda it: it.trusted | {"password": "wrong"}, "password", id="password"),
    pytest.param("without_tls", lambda it: it.trusted, "pg_hba.conf", id="user-without-tls"),
]


def strange_root(server: DebianPostgres) -> dict[str, str]:
    """Trust in another authority than the server's."""
    other = server.folder / "other.pem"
    other.write_bytes(Authority().pem())
    return {"sslrootcert": str(other)}


def strange_files(server: DebianPostgres) -> dict[str, str]:
    """A certificate of the right name that another authority has signed."""
    return server.files("by_certificate", Authority())


@pytest.mark.parametrize(("user", "options", "why"), REFUSED)
async def test_what_is_wrong_is_refused_and_said(
    debian_postgres: DebianPostgres, island: Island, user: str, options: Options, why: str
) -> None:
    """By the side that finds it, in words that say what to do."""
    told = dict(options(debian_postgres))
    where = {"host": told.pop("host", "127.0.0.1"), "password": told.pop("password", PASSWORD)}
    with pytest.raises((OSError, asyncpg.PostgresError), match=why):
        await take(island, debian_postgres.url(user, "varde", **where, **told))


async def test_a_program_says_what_is_wrong_with_the_certificate(debian_postgres: DebianPostgres) -> None:
    """Not only that the database does not answer."""
    url = debian_postgres.url("by_password", "varde", host="localhost", **debian_postgres.trusted)
    with pytest.raises(StoreUnavailable, match="not valid for 'localhost'"):
        async with open_storage(StorageSettings(database=DatabaseUrl(url))):
            pytest.fail("it opened")


@asynccontextmanager
async def open_strange_server(*said: bytes) -> AsyncIterator[int]:
    """A server that says something of its own after SSLRequest, piece by piece, and then reads on."""

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            asked = b""
            while len(asked) < len(SSL_REQUEST):
                asked += await stream.receive_some(len(SSL_REQUEST) - len(asked))
            assert asked == SSL_REQUEST
            for piece in said:
                await stream.send_all(piece)
                if piece is not said[-1]:
                    await stream.receive_some(5)  # the next one comes after the client has begun TLS
            with trio.move_on_after(20):
                while await stream.receive_some():
                    pass

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, serve, 0)
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


SSL_REQUEST = b"\0\0\0\x08\x04\xd2\x16\x2f"
TRUSTED_LOGIN = b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I"
"""In plain text: you are logged in, go on. Whoever took it for the server's would send its first query to anybody."""


@pytest.mark.parametrize(
    ("said", "why"),
    [
        pytest.param([b"N"], "rejected SSL upgrade", id="without-tls"),
        pytest.param([b"S" + TRUSTED_LOGIN], "rejected SSL upgrade", id="plaintext-in-the-same-segment"),
        pytest.param([b"S", TRUSTED_LOGIN], "the peer broke TLS", id="plaintext-before-the-handshake"),
        pytest.param([b"E\0\0\0\x08" + b"SXX\0"], "error response during SSL exchange", id="error"),
        pytest.param([TRUSTED_LOGIN], "rejected SSL upgrade", id="no-answer-at-all"),
    ],
)
@pytest.mark.parametrize("mode", ["require", "verify-full"])
async def test_a_server_that_does_not_begin_tls_is_refused(
    debian_postgres: DebianPostgres, island: Island, mode: str, said: list[bytes], why: str
) -> None:
    """Bytes that somebody on the way put before TLS are never read as the server's (CVE-2021-23222)."""
    options = debian_postgres.trusted | {"sslmode": mode}
    async with open_strange_server(*said) as port:
        url = debian_postgres._replace(port=port).url("by_password", "varde", **options)
        with pytest.raises(OSError, match=why):
            await take(island, url)
