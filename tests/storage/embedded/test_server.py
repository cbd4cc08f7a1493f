"""What the embedded Postgres promises as a process: joined, started, stopped, killed and recovered."""

import os
import signal
import subprocess
from pathlib import Path

import pytest
import trio

from storage.embedded.cluster import ClusterError, embedded_url, postgres_command, prepare_cluster, ready_command
from storage.embedded.server import EmbeddedPostgresError, open_embedded_postgres
from storage.island import Island
from tests.storage.conftest import Connect


@pytest.fixture
def folder(short_path: Path, prepared: Path) -> Path:
    """A folder with a cluster of the test's own, copied because that is faster than making it."""
    subprocess.run(("cp", "-a", f"{prepared}/.", str(short_path)), check=True)
    return short_path


def postmaster(folder: Path) -> int:
    """The pid of the server that runs on the folder."""
    return int((folder / "cluster" / "postmaster.pid").read_text().splitlines()[0])


def proc(pid: int, name: str) -> bytes:
    """What the kernel says about a process."""
    return Path(f"/proc/{pid}/{name}").read_bytes()


async def is_running(folder: Path) -> bool:
    """Whether a server accepts connections there."""
    return (await trio.run_process(ready_command(folder), check=False)).returncode == 0


async def test_it_runs_as_long_as_the_block(island: Island, connect: Connect, folder: Path) -> None:
    """The URL works inside the block, with the database made; after the block the server is gone and the data stays."""
    async with open_embedded_postgres(folder) as url:
        connection = await connect(url)
        assert await island.run(connection.fetchval, "SELECT current_database()") == "varde"
        assert connection.get_server_version().major == 18
        await island.run(connection.execute, "CREATE TABLE kept AS SELECT 1 AS one")
    assert not await is_running(folder)
    async with open_embedded_postgres(folder) as url:
        assert await island.run((await connect(url)).fetchval, "SELECT one FROM kept") == 1


async def test_a_running_server_is_joined(folder: Path) -> None:
    """A second block on the folder uses the first one's server, and leaves it running."""
    async with open_embedded_postgres(folder) as first:
        pid = postmaster(folder)
        async with open_embedded_postgres(folder) as second:
            assert (second, postmaster(folder)) == (first, pid)
        assert await is_running(folder)
    assert not await is_running(folder)


async def test_two_that_start_at_once_share_one_server(short_path: Path) -> None:
    """Two blocks that begin at the same moment on an empty folder come to the same server, and neither fails."""
    pids: list[int] = []
    both = trio.Event()

    async def use() -> None:
        async with open_embedded_postgres(short_path):
            pids.append(postmaster(short_path))
            if len(pids) == 2:
                both.set()
            await both.wait()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(use)
        nursery.start_soon(use)
    assert pids[0] == pids[1]
    assert not await is_running(short_path)


async def test_a_killed_server_recovers(island: Island, connect: Connect, folder: Path) -> None:
    """What was committed before `kill -9` of the postmaster is there after the next start."""
    async with open_embedded_postgres(folder) as url:
        connection = await connect(url)
        await island.run(connection.execute, "CREATE TABLE kept (n int)")
        for number in range(100):
            await island.run(connection.execute, "INSERT INTO kept VALUES ($1)", number)
        os.kill(postmaster(folder), signal.SIGKILL)
    async with open_embedded_postgres(folder) as url:
        rows = await island.run((await connect(url)).fetch, "SELECT n FROM kept ORDER BY n")
    assert [row["n"] for row in rows] == list(range(100))
    assert "automatic recovery in progress" in (folder / "postgres.log").read_text()


async def test_a_server_killed_inside_a_block_can_be_started_again_inside_it(folder: Path) -> None:
    """A dead server is not joined: the next block starts another one, and ending the first block harms it not."""
    async with open_embedded_postgres(folder):
        os.kill(postmaster(folder), signal.SIGKILL)
        while await is_running(folder):
            await trio.lowlevel.checkpoint()
        async with open_embedded_postgres(folder):
            assert await is_running(folder)


async def test_a_cancelled_start_leaves_no_server(folder: Path) -> None:
    """Cancelled at any moment of the start, the block leaves no process behind."""
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_when_launched, folder, scope)
            async with open_embedded_postgres(folder):
                pass
    assert not (folder / "cluster" / "postmaster.pid").exists()


async def _cancel_when_launched(folder: Path, scope: trio.CancelScope) -> None:
    while not (folder / "cluster" / "postmaster.pid").exists():
        await trio.lowlevel.checkpoint()
    scope.cancel()


async def test_a_server_that_does_not_start_shows_its_log(folder: Path) -> None:
    """When Postgres cannot run, the error ends with what Postgres said in its log, and only since this start."""
    (folder / "postgres.log").write_text("an older story\n")
    (folder / "cluster" / "postgresql.conf").write_text("no_such_setting = 1\n")
    with pytest.raises(EmbeddedPostgresError, match="no_such_setting") as caught:
        async with open_embedded_postgres(folder):
            pass
    assert "an older story" not in str(caught.value)


async def test_the_deadline_is_kept(folder: Path) -> None:
    """A server that is not ready in time is stopped, and the error says how long it was waited for."""
    with pytest.raises(EmbeddedPostgresError, match="did not accept connections in 0 s"):
        async with open_embedded_postgres(folder, deadline=0):
            pass
    assert not (folder / "cluster" / "postmaster.pid").exists()


async def test_what_is_wrong_with_the_folder_is_said_in_its_own_words(short_path: Path) -> None:
    """An unusable folder is refused before a process is started."""
    (short_path / "cluster").mkdir()
    with pytest.raises(ClusterError, match="is not a Postgres cluster"):
        async with open_embedded_postgres(short_path):
            pass


async def test_the_command_becomes_the_postmaster(island: Island, connect: Connect, short_path: Path) -> None:
    """The child of a supervisor is Postgres itself, with no other user's rights and no secret in its environment."""
    environ = os.environ | {"VARDE_SMTP_URL": "smtp://user:tops3cret@mail.example"}
    command = postgres_command(short_path)
    server = await trio.lowlevel.open_process(
        command,
        env=environ,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        extra_groups=[54321] if os.geteuid() == 0 else None,  # something to drop
    )
    try:
        with trio.fail_after(60):
            while not await is_running(short_path):
                await trio.lowlevel.checkpoint()
        assert postmaster(short_path) == server.pid
        user = prepare_cluster(short_path).user
        status = dict(line.split(":\t", 1) for line in proc(server.pid, "status").decode().splitlines())
        assert status["Uid"].split() == [str(user.uid)] * 4
        assert status["Gid"].split() == [str(user.gid)] * 4
        assert not user.foreign or status["Groups"].split() == []
        assert b"tops3cret" not in proc(server.pid, "environ")
        await connect(embedded_url(short_path))  # and stays: a fast shutdown waits for no client
        server.send_signal(signal.SIGINT)
        assert await server.wait() == 0
    finally:
        server.kill()
