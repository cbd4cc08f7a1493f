"""Backup and restore of a server: its database and its keys in one file, believed only after it was restored once.

A backup is a tar archive: a pg_dump in custom format, the keys of all programs, and the key of the transparency log. It
is as secret as the server itself. What tells a program how far its database was (`*.mark`, `log.last`) is left out on
purpose: whoever puts back an old database must not put back the memory of it (docs/operations/backup.md).
"""

import io
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

import asyncpg
import trio

from settings.storage import EmbeddedDatabase, StorageSettings
from storage.database import open_database
from storage.embedded.cluster import program
from storage.grants import grant_rights
from storage.island import Island, open_island
from storage.keys import NAMES, STAGES, KeyFileError, check_folder, read_text, write_text
from storage.log_key import KEY as LOG_KEY

Say = Callable[[str], None]

FORMAT: Final = 1
ABOUT, DUMP = "about.json", "database.dump"
TOO_NEW: Final = (b"SET transaction_timeout", b"\\restrict ", b"\\unrestrict ")
"""Lines of pg_restore 18 at which a server before 17, or an older psql, would stop. No column of ours can hold a text
that is written like one: a backslash in data is written twice."""
MEMBER_BYTES: Final = 8_192
"""The longest member that is read whole: everything but the dump."""
PROGRAM_KEYS: Final = {
    "relay": ("relay.key", "relay.pub", "relay.kem", "relay.kem.pub", "ticket.pub"),
    "api": ("relay.pub", "relay.kem.pub", "ticket.key", "ticket.pub", "pepper"),
    "worker": (LOG_KEY,),
}
"""What each program reads: the table at the top of storage/keys.py."""
PROGRAM_STAGES: Final = {"relay": ("relay.key", "relay.kem", "ticket.pub"), "api": ("pepper",), "worker": ()}
"""Of which of them it also reads the next and the old one, while they change."""
RESTORE: Final = "--no-owner", "--no-privileges"
"""Who owns what, and what the users of programs may do, is for the server that it comes to, where others may exist."""
MEMBERS: Final = {f"keys/{name}" for name in NAMES} | {f"log/{LOG_KEY}"}
STAGED_MEMBERS: Final = {f"keys/{name}{stage}" for name in NAMES for stage in STAGES}
"""In a backup only when it was made while they changed."""
_TABLES: Final = """
SELECT format('%I.%I', schemaname, tablename) FROM pg_tables
WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1
"""


class BackupError(Exception):
    """A backup cannot be made, read or restored; the text says why and what to do."""


async def back_up(settings: StorageSettings, file: Path, say: Say) -> Mapping[str, int]:
    """Write a backup to `file`, restore it into a server of its own, and compare. Returns the rows of each table.

    The database may be in use: the dump is of one moment. `file` appears when all is well, readable by its owner only.
    Raises BackupError.
    """
    if await trio.Path(file).exists():
        raise BackupError(f"{file} is there already; name another one")
    keys = _collect_keys(settings.data)
    # Closed to others, and beside the file, so that it can be renamed into its place.
    with tempfile.TemporaryDirectory(dir=file.parent, prefix=f".{file.name}.") as work:
        dump = Path(work) / DUMP
        async with _connected(settings) as (island, url, connection):
            # The dump and the counts are of the same snapshot, whatever is written meanwhile.
            await island.run(connection.execute, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            snapshot = await island.run(connection.fetchval, "SELECT pg_export_snapshot()")
            say("dumping the database")
            await _run("pg_dump", url, "--format=custom", "--no-owner", f"--snapshot={snapshot}", f"--file={dump}")
            rows = await _count(island, connection)
        draft = Path(work) / file.name
        _pack(draft, dump, keys, rows)
        say("restoring it into a server of its own, to see that it is whole")
        found = await _restore_aside(draft, Path(work))
        if found != rows:
            raise BackupError("the restored copy has other rows than the database; the backup was thrown away")
        draft.rename(file)
    return rows


async def restore(settings: StorageSettings, file: Path, say: Say) -> Mapping[str, int]:
    """Put a backup into an empty database, and its keys into a data folder without any. Raises BackupError."""
    with _opened(file) as archive, tempfile.TemporaryDirectory(dir=file.parent, prefix=f".{file.name}.") as work:
        keys = _read_keys(archive)
        _refuse_other_keys(settings.data, keys)
        dump = _unpack(archive, Path(work))
        async with _connected(settings) as (island, url, connection):
            if await island.run(connection.fetchval, f"SELECT count(*) FROM ({_TABLES}) AS it"):  # noqa: S608
                raise BackupError("the database is not empty; make a new one, and name it in VARDE_DATABASE_URL")
            say("restoring the database")
            await _restore_dump(url, dump)
            await island.run(grant_rights, connection)
            rows = await _count(island, connection)
        if rows != _about(archive)["rows"]:
            raise BackupError("the restored database has other rows than the backup says; do not use it")
        _write_keys(settings.data, keys)
    return rows


@asynccontextmanager
async def _connected(
    settings: StorageSettings,
) -> AsyncIterator[tuple[Island, str, "asyncpg.Connection[asyncpg.Record]"]]:
    async with open_database(settings.database) as url, open_island() as island:
        try:
            connection = await island.run(asyncpg.connect, url)
        except (OSError, asyncpg.PostgresError) as error:
            raise BackupError(f"the database cannot be reached: {type(error).__name__}") from None
        try:
            yield island, url, connection
        finally:
            with trio.CancelScope(shield=True):
                await island.run(connection.close)


async def _count(island: Island, connection: "asyncpg.Connection[asyncpg.Record]") -> dict[str, int]:
    tables = [row[0] for row in await island.run(connection.fetch, _TABLES)]
    counts = {}
    for table in tables:
        counts[table] = await island.run(connection.fetchval, f"SELECT count(*) FROM {table}")  # noqa: S608 - quoted by Postgres
    return counts


async def _restore_aside(file: Path, work: Path) -> Mapping[str, int]:
    # The server has a folder of its own: it may run as another user, who must get there, and not to the dump.
    with _opened(file) as archive, tempfile.TemporaryDirectory(prefix="varde-") as server:
        aside = StorageSettings(database=EmbeddedDatabase(Path(server)), data=work / "data")
        dump = _unpack(archive, work)
        async with _connected(aside) as (island, url, connection):
            await _restore_dump(url, dump)
            found = await _count(island, connection)
        _write_keys(aside.data, _read_keys(archive))
    return found


async def _run(name: str, url: str, *arguments: str) -> None:
    """Run one of Postgres's programs on a database."""
    target, environ = _target(url)
    done = await trio.run_process(
        [_find_program(name, url), target, *arguments], env=environ, umask=0o077, capture_stderr=True, check=False
    )
    if done.returncode != 0:
        raise BackupError(f"{name} failed: {done.stderr.decode(errors='replace').strip()}")


def _target(url: str) -> tuple[str, dict[str, str]]:
    """Return the option that names a database, and an environment with the password, which others cannot see there."""
    parts = urlsplit(url)
    environ = {"PATH": os.defpath, "LC_ALL": "C"}
    if parts.password is not None:
        environ["PGPASSWORD"] = unquote(parts.password)
        url = parts._replace(netloc=parts.netloc.replace(f":{parts.password}@", "@", 1)).geturl()
    return f"--dbname={url}", environ


def _find_program(name: str, url: str) -> str:
    if "sslmode" not in parse_qs(urlsplit(url).query):
        return program(name)
    # The embedded Postgres was built without TLS. Debian has a wrapper on the path, which wants a cluster of its own.
    newest = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[-3]))
    found = str(newest[-1]) if newest else shutil.which(name)
    if found is None:
        raise BackupError(f"over TLS it takes PostgreSQL's own {name}: apt-get install postgresql-client")
    return found


async def _restore_dump(url: str, dump: Path) -> None:
    await trio.to_thread.run_sync(_pipe_dump, url, dump)


def _pipe_dump(url: str, dump: Path) -> None:
    target, environ = _target(url)
    psql = _find_program("psql", url), target, "-Xqo", os.devnull, "--single-transaction", "-v", "ON_ERROR_STOP=1"
    with tempfile.TemporaryFile() as said:
        source = subprocess.Popen(  # noqa: S603 - Postgres's own
            (program("pg_restore"), *RESTORE, "--file=-", str(dump)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=said,
            env=environ,
        )
        sink = subprocess.Popen(psql, stdin=subprocess.PIPE, stderr=said, env=environ)  # noqa: S603 - the same
        assert source.stdout is not None
        assert sink.stdin is not None
        with source, sink, suppress(BrokenPipeError), sink.stdin as statements:  # it says why, below
            for line in source.stdout:
                if not line.startswith(TOO_NEW):
                    statements.write(line)
        if source.returncode or sink.returncode:
            said.seek(0)
            raise BackupError(f"restoring failed: {said.read().decode(errors='replace').strip()}")


def _pack(file: Path, dump: Path, keys: Mapping[str, bytes], rows: Mapping[str, int]) -> None:
    descriptor = _create(file)
    with os.fdopen(descriptor, "wb") as out, tarfile.open(fileobj=out, mode="w") as archive:
        about = json.dumps({"format": FORMAT, "rows": rows}).encode()
        members = {ABOUT: about, **keys}
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o600
            archive.addfile(member, io.BytesIO(content))
        archive.add(dump, DUMP, filter=_anonymous)
        out.flush()
        os.fsync(descriptor)


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    # Where it is restored, the same numbers and names may be of other users.
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mode = 0o600
    return member


def _collect_keys(data: Path) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for folder, names in (("keys", NAMES), ("log", (LOG_KEY,))):
        if not (data / folder).is_dir():
            raise BackupError(f"{data / folder} is missing: name the servers' folder with VARDE_DATA")
        check_folder(data / folder)
        staged = [each for name in NAMES for stage in STAGES if (data / folder / (each := name + stage)).exists()]
        found |= {f"{folder}/{name}": read_text(data / folder, name).encode() + b"\n" for name in (*names, *staged)}
    return found


@contextmanager
def _opened(file: Path) -> Iterator[tarfile.TarFile]:
    with ExitStack() as stack:
        try:
            archive = stack.enter_context(tarfile.open(file, "r:"))  # never compressed: a small file stays small
            made_by = _about(archive)["format"]
        except (OSError, tarfile.TarError, KeyError, ValueError, BackupError) as error:
            raise BackupError(f"{file} is no backup of Varde: {type(error).__name__}") from error
        if made_by != FORMAT:
            raise BackupError(f"{file} was made by another version of Varde")
        yield archive


def _about(archive: tarfile.TarFile) -> dict[str, Any]:
    about: dict[str, Any] = json.loads(_read(archive, ABOUT))
    return about


def _read(archive: tarfile.TarFile, name: str) -> bytes:
    with _member(archive, name) as content:
        found = content.read(MEMBER_BYTES + 1)
    if len(found) > MEMBER_BYTES:
        raise BackupError(f"{name} in the backup is larger than it should be")
    return found


@contextmanager
def _member(archive: tarfile.TarFile, name: str) -> Iterator[IO[bytes]]:
    try:
        content = archive.extractfile(name)
        if content is None:
            raise BackupError(f"{name} in the backup is no file")
        with content:
            yield content
    except (KeyError, tarfile.TarError) as error:
        raise BackupError(f"{name} is missing in the backup, or cut off") from error


def _read_keys(archive: tarfile.TarFile) -> dict[str, str]:
    names = MEMBERS | STAGED_MEMBERS & set(archive.getnames())
    return {name: _read(archive, name).decode().removesuffix("\n") for name in sorted(names)}


def _unpack(archive: tarfile.TarFile, work: Path) -> Path:
    target = work / "restored.dump"
    with _member(archive, DUMP) as content, os.fdopen(_create(target), "wb") as out:
        shutil.copyfileobj(content, out)
    return target


def _create(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)


def _refuse_other_keys(data: Path, keys: Mapping[str, str]) -> None:
    for name, text in keys.items():
        folder, file = data / Path(name).parent, Path(name).name
        if (folder / file).exists() and read_text(folder, file) != text:
            raise BackupError(f"{folder / file} is another key than the backup's; move {folder} away first")


def _write_keys(data: Path, keys: Mapping[str, str]) -> None:
    for name, text in keys.items():
        path = data / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            write_text(path, text)


def hand_out_keys(data: Path, program_name: str, folder: Path) -> Sequence[str]:
    """Copy the keys that one program needs into a folder, for a machine or a container of its own.

    A folder that is there gets what has changed, and stays its owner's. Returns the names of the files.
    Raises KeyFileError, also for a folder with keys of another server.
    """
    source = data / ("log" if program_name == "worker" else "keys")
    check_folder(source)
    staged = [name + stage for name in PROGRAM_STAGES[program_name] for stage in STAGES]
    needed = [*PROGRAM_KEYS[program_name], *(name for name in staged if (source / name).exists())]
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        _refuse_other_server(source, folder, PROGRAM_STAGES[program_name] or PROGRAM_KEYS[program_name])
        for name in needed:
            _put(folder, name, read_text(source, name))
        for name in set(staged) - set(needed):
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise KeyFileError(f"{folder} cannot be made: {error.strerror}") from None
    return needed


def _refuse_other_server(source: Path, folder: Path, names: Sequence[str]) -> None:
    # A wrong VARDE_DATA must not put a new pepper over the only one that people can sign in with. A folder that missed
    # a step has at least one of the keys of before or after.
    for name in names:
        ours, theirs = ({*_read_stages(place, name)} for place in (source, folder))
        if theirs and not ours & theirs:
            raise KeyFileError(f"{folder / name} is no key of this server, and no recent one: move it away first")


def _read_stages(folder: Path, name: str) -> list[str]:
    stages = (name + stage for stage in ("", *STAGES))
    return [read_text(folder, each) for each in stages if (folder / each).exists()]


def _put(folder: Path, name: str, text: str) -> None:
    draft, owner = folder / f".{name}.draft", folder.stat()
    draft.unlink(missing_ok=True)
    write_text(draft, text)
    if os.geteuid() == 0:
        os.chown(draft, owner.st_uid, owner.st_gid)
    draft.replace(folder / name)
