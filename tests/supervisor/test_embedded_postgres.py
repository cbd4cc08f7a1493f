"""What a database is found to answer when one knocks: a fake answers as Postgres does in each state.

No Postgres runs here; a real one is asked in `test_real_fleet.py`.
"""

from pathlib import Path

import pytest
import trio

from supervisor.embedded_postgres import PostgresState, probe_postgres

URL = "postgresql://varde@/varde?host=.&port=5432"
HELLO = b"\0\0\0\x23\0\x03\0\0user\0varde\0database\0varde\0\0"


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        (b"R\0\0\0\x08\0\0\0\0", PostgresState.READY),
        (b"E\0\0\0\x1aSFATAL\0C28P01\0Mwho?\0\0", PostgresState.READY),
        (b"E\0\0\0\x1aSFATAL\0C57P03\0Mlater\0\0", PostgresState.STARTING),
        (b"", PostgresState.STARTING),
    ],
    ids=["welcome", "refused", "starting", "hung up"],
)
async def test_a_listening_server_is_ready_when_it_takes_connections(
    reply: bytes, answer: PostgresState, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that listens but starts, recovers or stops is told apart from one that is ready."""
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    with trio.socket.socket(trio.socket.AF_UNIX) as listener:
        await listener.bind(".s.PGSQL.5432")
        listener.listen()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_answer, listener, reply)
            assert await probe_postgres(URL) is answer


async def test_where_nobody_listens_there_is_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No socket, or one that a dead server has left, is no server."""
    monkeypatch.chdir(tmp_path)
    assert await probe_postgres(URL) is PostgresState.ABSENT
    with trio.socket.socket(trio.socket.AF_UNIX) as listener:
        await listener.bind(".s.PGSQL.5432")
    assert await probe_postgres(URL) is PostgresState.ABSENT


async def _answer(listener: trio.socket.SocketType, reply: bytes) -> None:
    caller, _ = await listener.accept()
    with caller:
        assert await caller.recv(len(HELLO)) == HELLO
        await caller.send(reply)
