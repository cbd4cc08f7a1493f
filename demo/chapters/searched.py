"""The database is searched for everything that was said and for every e-mail address, in every form.

And for things that must be there: a search that finds nothing at all would prove nothing.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import trio

from demo.dumping import checkpoint, cluster_files, dump_database
from demo.finding import Found, Search
from demo.raw import as_body, open_raw
from demo.stage import Stage
from demo.story import expect

_PATIENCE: Final = 90.0  # seconds
_STORM: Final = "Storm"


async def tell(stage: Stage) -> None:
    """Search what the database says, what lies on the disk, and what the programs logged."""
    assert stage.dm is not None
    waiting = await _leave_waiting(stage)
    url, folder = stage.system.database_url, stage.system.data / "postgres"
    await checkpoint(url)
    dump = await dump_database(url)
    files = list(cluster_files(folder))
    async with stage.story.promise(
        "the search finds what must be there: ids and a waiting ciphertext, in the dump and on disk"
    ):
        for words, content, place in (
            ([str(stage.dm).encode(), waiting], dump, ()),
            ([stage.dm.bytes, waiting], b"", files),
        ):
            found = await trio.to_thread.run_sync(_look, Search(words), content, place)
            expect(len({each.word for each in found}), len(words))
    secrets = [*_needles(stage.said), *(person.email for person in stage.people.values())]
    search = Search(word.encode() for word in secrets)
    async with stage.story.promise(
        f"none of {len(stage.said)} texts and no e-mail address is there: not raw, not in hex, base64 or UTF-16",
        _PATIENCE,
    ):
        expect(await trio.to_thread.run_sync(_look, search, dump, files), [])
    stage.story.note(f"{search.bytes_read / 1e6:.0f} MB searched: all tables, indexes and the write-ahead log")
    async with stage.story.promise("nor is any of it in what the programs logged"):
        expect(search.in_bytes("the logs", "\n".join(stage.chorus.lines).encode()), [])


async def _leave_waiting(stage: Stage) -> bytes:
    """Have a message wait for Bob's phone, and return its ciphertext."""
    assert stage.dm is not None
    text = "This one waits in the database, sealed."
    stage.said.append(text)
    async with open_raw(stage.device("alice", "phone")) as alice:
        send = await alice.seal(await alice.rest.conversation(stage.dm), text)
        await alice.rest.send(as_body(send))
    assert send.devices is not None
    return send.devices[stage.device("bob", "phone").id]


def _needles(said: list[str]) -> list[str]:
    """What to look for: each text, and for the storm, whose texts differ in a number only, what they have in common."""
    others = [text for text in said if not text.startswith(_STORM)]
    return [*others, "Storm: ", "whatever happen"] if len(others) < len(said) else others


def _look(search: Search, dump: bytes, files: Sequence[Path]) -> list[Found]:
    found = search.in_bytes("the dump", dump)
    for path in files:
        try:
            found += search.in_file(path)
        except FileNotFoundError:
            continue  # the database works on: files come and go
    return found
