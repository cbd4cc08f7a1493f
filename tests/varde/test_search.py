"""Search on the device: what is found, what is gone, and a snapshot that anybody may have damaged."""

import json
import os
import stat
import unicodedata
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from tests.cast import CastDevice, alice, alice_laptop, bob, bob_phone
from tests.ids import id_of
from tests.varde.endpoints import memory_store
from tests.varde.vectors.write_search import FILE, open_store_of
from varde import search as searching
from varde.clock import fresh_id
from varde.errors import StoreDamaged, StoreFailed, VardeError
from varde.events import at
from varde.sayings import Origin, SaidEvent, event_of
from varde.search import LOOK_SECONDS, SNAPSHOT_EVERY, Search
from varde.search.index import Index
from varde.search.query import QUERY_CHARACTERS, QUERY_TERMS, fold, parse_query
from varde.search.snapshot import CHUNK_BYTES, NAME, Header, open_snapshot, read_snapshot
from varde.store import KeyFile, Store, open_store
from varde.store.search import BATCH, Mark, Searchable
from varde_contract.bodies import Delete, Edit, MessageRef, Saying, Text
from varde_contract.ids import ClientId, ConversationId

ROOM, OTHER = ConversationId(id_of(0x700)), ConversationId(id_of(0x701))
PEOPLE = {device.id: person for person in (alice, bob) for device in person.devices}
CANARY = "kanarifugl"


class Home:
    """A store in a folder, into which people talk, and its search."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.search = Search(store)
        self._numbers: Iterator[int] = count(store.log.last_position() + 1)

    def make(self, saying: Saying, device: CastDevice = bob_phone, room: ConversationId = ROOM) -> SaidEvent:
        """Say something that has not come yet."""
        person, number = PEOPLE[device.id], next(self._numbers)
        origin = Origin(
            conversation=room,
            seq=number,
            client_id=ClientId(fresh_id()),
            profile=person.profile,
            device=device.id,
            account=person.account,
            written=at(number * 1_000),
            received=at(number * 1_000),
            mine=person is alice,
        )
        return event_of(saying, origin)

    def say(self, saying: str | Saying, device: CastDevice = bob_phone, room: ConversationId = ROOM) -> MessageRef:
        """Take in what somebody says."""
        event = self.make(Text(saying) if isinstance(saying, str) else saying, device, room)
        self.take(event)
        return event.ref

    def take(self, *events: SaidEvent) -> None:
        """Let it come."""
        with self.store.transaction(durable=False):
            for event in events:
                self.store.log.add(event)

    async def find(self, words: str, room: ConversationId | None = None) -> list[str]:
        """The texts that are found."""
        return [each.message.text for each in await self.search.find(words, conversation=room)]


@asynccontextmanager
async def open_home(folder: Path) -> AsyncIterator[Home]:
    """One, whose search ends in order."""
    async with open_store(folder, KeyFile(folder / "key"), make=True) as store:
        home = Home(store)
        yield home
        await home.search.aclose()


def spy_on_batches(monkeypatch: pytest.MonkeyPatch, home: Home) -> list[int]:
    """How many messages were read in each batch, from now on."""
    read: list[int] = []
    original = type(home.store.search).read_after

    def read_after(table: object, mark: Mark) -> tuple[Mark, list[Searchable]]:
        behind, messages = original(table, mark)  # type: ignore[arg-type]
        read.append(len(messages))
        return behind, list(messages)

    monkeypatch.setattr(type(home.store.search), "read_after", read_after)
    return read


@pytest.mark.parametrize(
    ("typed", "text"),
    [
        ("BLÅBÆR", "på tur etter blåbær"),
        ("blåbær", "BLÅBÆRSYLTETØY"),  # the beginning of a word is enough
        ("bla\u030abær", "blåbær"),  # composed and decomposed
        ("blåbær", "bla\u030abær"),
        ("strasse", "Straße"),
        ("ﬁn", "finn"),  # a ligature
        ("\uff21\uff22\uff23", "abc"),  # full width
        ("sam\u00adarbeid", "samarbeid"),  # a soft hyphen
        ("हिन्दी", "यह हिन्दी है"),  # marks belong to their word
        ("本語", "日本語です"),  # no spaces between words
        ("🙂", "ok🙂"),
        ("👨‍👩‍👧", "👨‍👩‍👧 er her"),
        ("o'neil", "O\u2019Neil"),
        ("a@example.org", "skriv til a@example.org!"),
        ('"god morgen"', "God  morgen, alle"),
        ("«god morgen»", "God morgen"),
        ('morgen "god', "god morgen"),  # a quotation mark that is not closed yet
        ("god morgen", "morgen er god"),  # in any order
        ("NOT", "or not"),  # no word is an operator
        ("near(a", "near a"),
        ("text:hei", "text hei"),
        ("conversation", "a conversation"),
        ("hei*", "heisann"),
        ("^hei", "nei hei"),
        ("{hei}", "hei"),
        ("a\0b", "a b"),
        ("\ud800hei", "hei"),
    ],
)
async def test_it_is_found(tmp_path: Path, typed: str, text: str) -> None:
    """However it is spelled."""
    async with open_home(tmp_path) as home:
        home.say(text)
        home.say("noe helt annet")
        assert await home.find(typed) == [text]


@pytest.mark.parametrize(
    ("typed", "text"),
    [
        ("blabær", "blåbær"),  # å is no a
        ("bær", "blåbær"),  # not the middle of a word
        ('"god mor"', "god morgen"),  # a phrase is whole
        ('"morgen god"', "god morgen"),  # and in its order
        ("god natt", "god morgen"),  # all words
        ('god "NOT" morgen', "god morgen"),
        ("", "hei"),
        ("  ¿?!  ", "hei"),
    ],
)
async def test_it_is_not_found(tmp_path: Path, typed: str, text: str) -> None:
    """What was not said."""
    async with open_home(tmp_path) as home:
        home.say(text)
        assert await home.find(typed) == []


@given(st.text(max_size=60), st.text(max_size=200))
def test_nothing_typed_is_a_command(typed: str, text: str) -> None:
    """Any text may be searched for, in any text, and what is found says where."""
    index = Index()
    index.apply([Searchable(1, ROOM, text)], Mark(1, 0))
    try:
        query = parse_query(typed)
    except VardeError:
        return
    found = index.find(query, None, 10)
    hits = query.hits(text)
    index.close()
    # What is one character to write may be two words to compare: half a fraction is found, and not marked.
    assert bool(found) >= bool(hits and len(query.terms) == 1)
    if unicodedata.normalize("NFKC", text) == text:
        assert bool(found) <= bool(hits)
    assert all(0 <= start < start + length <= len(text) for start, length in hits)


@given(st.text(min_size=1, max_size=100))
def test_every_text_finds_itself(text: str) -> None:
    """As a phrase."""
    index = Index()
    index.apply([Searchable(7, ROOM, text)], Mark(7, 0))
    phrase = text.replace('"', " ")
    found = index.find(parse_query(f'"{phrase}"'), None, 1)
    index.close()
    assert found == ([7] if fold(phrase) else [])


@pytest.mark.parametrize("typed", ["x" * (QUERY_CHARACTERS + 1), "x " * (QUERY_TERMS + 1)])
def test_more_than_a_person_types_is_refused(typed: str) -> None:
    """A program that pastes a book is told."""
    with pytest.raises(VardeError) as refused:
        parse_query(typed)
    assert refused.value.code == "search-too-long"


def test_hits_say_where() -> None:
    """In code points of the text as it was written."""
    text = "Hei, BLA\u030aBÆR og blåbærsaft 🙂!"
    hits = parse_query("blåbær 🙂").hits(text)
    assert [text[start : start + length] for start, length in hits] == ["BLA\u030aBÆR", "blåbærsaft", "🙂"]
    assert parse_query('"a b" b').hits("a b") == [(0, 3)]


async def test_the_newest_come_first_and_the_rest_on_demand(tmp_path: Path) -> None:
    """Page by page, also in one conversation."""
    async with open_home(tmp_path) as home:
        for number in range(5):
            home.say(f"hei {number}", room=OTHER if number == 3 else ROOM)
        first = await home.search.find("hei", limit=2)
        assert [each.message.text for each in first] == ["hei 4", "hei 3"]
        rest = await home.search.find("hei", before=first[-1].position)
        assert [each.message.text for each in rest] == ["hei 2", "hei 1", "hei 0"]
        assert await home.find("hei", OTHER) == ["hei 3"]
        assert await home.search.find("hei", limit=-1) == ()


async def test_what_comes_later_is_found(tmp_path: Path) -> None:
    """Own messages as well, and nothing is read twice."""
    async with open_home(tmp_path) as home:
        home.say("hei")
        assert await home.find("hei") == ["hei"]
        home.say("hei selv", alice_laptop)
        assert await home.find("hei") == ["hei selv", "hei"]


async def test_an_edit_replaces(tmp_path: Path) -> None:
    """Whether it comes after its message or before; and only one's own."""
    async with open_home(tmp_path) as home:
        ref = home.say("hei verden")
        home.say(Edit(ref, "løgn"), alice_laptop)
        assert await home.find("verden") == ["hei verden"]
        home.say(Edit(ref, "hei himmel"))
        assert await home.find("verden") == []
        assert await home.find("himmel") == ["hei himmel"]
        late = home.make(Text("sein morgen"))
        home.say(Edit(late.ref, "sein kveld"))
        assert await home.find("sein") == []
        home.take(late)
        assert await home.find("sein") == ["sein kveld"]
        assert await home.find("morgen") == []


async def test_what_is_deleted_is_gone_from_index_and_file(tmp_path: Path) -> None:
    """From the snapshot at its next look, or at the end."""
    async with open_home(tmp_path) as home:
        ref = home.say(f"en {CANARY}")
        home.say("noe som blir")
        assert len(await home.find("en")) == 1
        await home.search._keep(1)
        assert CANARY.encode() in image_of(home)
        home.say(Delete(ref))
        assert await home.find(CANARY) == []
    async with open_home(tmp_path) as home:
        assert CANARY.encode() not in image_of(home)
        assert await home.find("blir") == ["noe som blir"]


async def test_what_expires_is_gone_without_a_search(tmp_path: Path) -> None:
    """A client that never searches keeps the file clean, too."""
    async with open_home(tmp_path) as home:
        home.say(Text(f"en {CANARY}", timer=5), alice_laptop)
        assert len(await home.find(CANARY)) == 1
        await home.search._keep(1)
    async with open_home(tmp_path) as home:
        with home.store.transaction():
            assert len(home.store.log.expire(2**50)) == 1
        assert CANARY.encode() in image_of(home)
    async with open_home(tmp_path) as home:
        assert CANARY.encode() not in image_of(home)
        assert await home.find(CANARY) == []


def image_of(home: Home) -> bytes:
    """What is in the snapshot."""
    valid = home.store.settings.find(searching.SNAPSHOTS, list[bytes])
    read = read_snapshot(home.store.search, home.store.folder / NAME, valid or [])  # type: ignore[operator]
    assert read is not None
    return read[1]


async def test_the_second_search_opens_the_snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And reads what came since, no more."""
    async with open_home(tmp_path) as home:
        for number in range(3):
            home.say(f"hei {number}")
        assert len(await home.find("hei")) == 3
        await home.search._keep(1)
        home.say("hei til")
    async with open_home(tmp_path) as home:
        read = spy_on_batches(monkeypatch, home)
        assert len(await home.find("hei")) == 4
        assert sum(read) == 1


async def test_a_client_that_stays_writes_every_so_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    """Not with every message."""

    async def run_here(work: Callable[..., object], *given: object) -> object:
        return work(*given)  # the clock does not wait for threads

    monkeypatch.setattr(searching, "SNAPSHOT_EVERY", 3)
    monkeypatch.setattr("varde.search.trio.to_thread.run_sync", run_here)
    async with open_home(tmp_path) as home, trio.open_nursery() as nursery:
        nursery.start_soon(home.search.run)
        home.say("hei")
        await home.find("hei")
        await trio.sleep(LOOK_SECONDS + 1)  # virtual: the next look
        assert not (tmp_path / NAME).exists()
        for _ in range(3):
            home.say("hei")
        await trio.sleep(LOOK_SECONDS + 1)  # virtual: the next look
        assert (tmp_path / NAME).exists()
        nursery.cancel_scope.cancel()
    assert SNAPSHOT_EVERY > BATCH


async def test_the_file_is_sealed_and_says_its_size_alone(tmp_path: Path) -> None:
    """Nobody else may read it, and it holds no word; 60 KiB more or less of words do not show."""
    async with open_home(tmp_path) as home:
        home.say(CANARY)
        await home.find(CANARY)
        await home.search._keep(1)
    sealed = (tmp_path / NAME).read_bytes()
    assert CANARY.encode() not in sealed
    assert stat.S_IMODE((tmp_path / NAME).stat().st_mode) == 0o600
    assert len(sealed) % (CHUNK_BYTES + 40) == 32
    assert not (tmp_path / f"{NAME}.new").exists()


def cut(path: Path) -> None:
    """The last chunk is missing."""
    path.write_bytes(path.read_bytes()[: -(CHUNK_BYTES + 40)])


def swap(path: Path) -> None:
    """Two chunks have changed places."""
    content, size = path.read_bytes(), CHUNK_BYTES + 40
    path.write_bytes(content[:32] + content[32 + size :] + content[32 : 32 + size])


def flip(path: Path) -> None:
    """One bit."""
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [cut, swap, flip, Path.unlink, lambda path: path.write_bytes(b"")])
async def test_a_damaged_snapshot_is_made_again(tmp_path: Path, damage: Callable[[Path], object]) -> None:
    """Nothing is missing from what is found, and the person is told how far it is."""
    async with open_home(tmp_path) as home:
        home.take(*(home.make(Text(f"{os.urandom(60).hex()} hei")) for _ in range(BATCH + 20)))
        await home.find("hei")
        await home.search._keep(1)
    damage(tmp_path / NAME)
    told: list[tuple[int, int]] = []
    async with open_home(tmp_path) as home:
        found = await home.search.find("hei", limit=1_000, progress=lambda *how_far: told.append(how_far))
        assert len(found) == 500
        assert len(home.search._index.find(parse_query("hei"), None, 1_000)) == BATCH + 20  # type: ignore[union-attr]
    assert told == [(BATCH, BATCH + 20), (BATCH + 20, BATCH + 20)]


async def test_a_snapshot_of_another_home_is_refused(tmp_path: Path) -> None:
    """And an older one of the same, which holds what was deleted since."""
    for name in ("one", "two"):
        async with open_home(tmp_path / name) as home:
            ref = home.say(f"{CANARY} {name}")
            await home.find("x")
            await home.search._keep(1)
    older = (tmp_path / "one" / NAME).read_bytes()
    (tmp_path / "one" / NAME).write_bytes((tmp_path / "two" / NAME).read_bytes())
    async with open_home(tmp_path / "one") as home:
        assert await home.find(CANARY) == [f"{CANARY} one"]
    async with open_home(tmp_path / "one") as home:
        found = home.store.log.history(ROOM, 1, None)
        ref = found[0].ref
        home.say(Delete(ref))
        await home.find(CANARY)
    (tmp_path / "one" / NAME).write_bytes(older)
    async with open_home(tmp_path / "one") as home:
        await home.find("x")
        assert home.search._index is not None
        assert home.search._index.find(parse_query(CANARY), None, 9) == []


@pytest.mark.parametrize("when", ["before the file", "before the store knows"])
async def test_a_crash_while_it_is_written_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """What is on the disk then is valid: nothing is indexed a second time."""
    async with open_home(tmp_path) as home:
        home.say("hei")
        await home.find("hei")
        await home.search._keep(1)
        home.say("hei hei")
        await home.find("hei")
        with monkeypatch.context() as crash:
            if when == "before the file":
                crash.setattr(searching, "write_snapshot", die)
                # Nothing after a crash is put right.
                crash.setattr(Search, "_put_valid", put_but_for([]))
            else:
                crash.setattr(type(home.store.search), "forget_changes", die)
            with pytest.raises(SystemExit):
                await home.search._keep(1)
        home.search._index = None
    async with open_home(tmp_path) as home:
        read = spy_on_batches(monkeypatch, home)
        assert len(await home.find("hei")) == 2
        assert sum(read) == (1 if when == "before the file" else 0)


def die(*_: object) -> None:
    """The process ends here."""
    raise SystemExit


def put_but_for(seen: list[list[bytes]]) -> object:
    """Put what is valid once."""
    original = Search._put_valid

    def put(search: Search, snapshots: list[bytes]) -> None:
        if not seen:
            seen.append(snapshots)
            original(search, snapshots)

    return put


async def test_a_full_disk_costs_the_next_search_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client is not disturbed, and no half file stays."""

    def fail(*_: object) -> None:
        (tmp_path / f"{NAME}.new").touch()
        raise StoreFailed("full", code="store-full")

    async with open_home(tmp_path) as home:
        home.say("hei")
        await home.find("hei")
        monkeypatch.setattr("varde.search.snapshot.os.fsync", fail)
        await home.search._keep(1)
        assert await home.find("hei") == ["hei"]
    assert not (tmp_path / NAME).exists()
    assert not (tmp_path / f"{NAME}.new").exists()


async def test_a_home_without_a_folder_is_searched_in_memory() -> None:
    """As in the simulation."""
    home = Home(memory_store())
    home.say("hei")
    assert await home.find("hei") == ["hei"]
    await home.search.aclose()


async def test_a_cancelled_search_leaves_an_index_to_go_on_with(tmp_path: Path) -> None:
    """Ctrl-C, or a person who types on."""
    async with open_home(tmp_path) as home:
        home.take(*(home.make(Text("hei")) for _ in range(2 * BATCH)))
        with trio.CancelScope() as scope:
            await home.search.find("hei", progress=lambda *_: scope.cancel())
        assert scope.cancelled_caught
        assert len(await home.search.find("hei", limit=500)) == 500


def test_the_vector_opens() -> None:
    """The format of the file stays what docs/search.md says. FOLDING is of this Python, and in the header."""
    vector = json.loads(FILE.read_text())
    table = open_store_of(bytes.fromhex(vector["key"])).search
    file, valid = bytes.fromhex(vector["file"]), [bytes.fromhex(vector["snapshot"])]
    header, image = open_snapshot(table, file, valid, chunk=vector["chunk"], folding=vector["folding"])
    assert header == Header(vector["position"], vector["change"], vector["folding"], len(image))
    assert image.hex() == vector["image"]
    for wrong in ({"folding": "another"}, {"chunk": 32}):
        with pytest.raises(StoreDamaged):
            open_snapshot(table, file, valid, **{"chunk": vector["chunk"], "folding": vector["folding"], **wrong})
    with pytest.raises(StoreDamaged):
        open_snapshot(open_store_of(bytes(32)).search, file, valid, chunk=vector["chunk"])
