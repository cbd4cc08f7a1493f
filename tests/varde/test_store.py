"""The local store: what it hides, and what it keeps whole."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cast import alice, alice_laptop, bob, bob_phone
from tests.ids import id_of
from tests.varde.endpoints import endpoint, memory_store
from varde.clock import fresh_id
from varde.errors import StoreDamaged
from varde.events import Message, at
from varde.store import KeyFile, Passphrase, open_store
from varde.store.database import Database
from varde.store.outbox import Draft, DraftKind, EncryptedDraft
from varde.store.schema import VERSIONS
from varde.store.store import STORE_NAME
from varde.store.table import KEY_BYTES, Cell, StoreCipher
from varde.store.unlock import Argon2Cost
from varde_cli.options import KEY_FILE
from varde_contract.bodies import Text
from varde_contract.ids import ClientId, ConversationId, ProfileId

CHEAP = Argon2Cost(passes=1, memory=8192)
CANARY = "en hemmelighet som ingen fil kjenner"


async def test_no_plaintext_lies_in_any_file(tmp_path: Path) -> None:
    """Texts, names, tokens and keys are in none of the store's files, while it is open and after."""
    async with open_store(tmp_path, Passphrase(CANARY, CHEAP), make=True) as store:
        conversation, client_id = ConversationId(fresh_id()), ClientId(fresh_id())
        with store.transaction():
            store.settings.put("session", CANARY)
            store.contacts.add(CANARY, bob.profile)
            store.outbox.add(Draft(conversation, client_id, DraftKind.TEXT, alice.profile, 0, Text(CANARY)))
            store.outbox.put_encrypted(client_id, EncryptedDraft(1, bytes(8), 1, bytes(32), group=CANARY.encode()))
            store.log.add(message(conversation, 1, CANARY))
        searched = list(searched_bytes(tmp_path))
    searched.extend(searched_bytes(tmp_path))
    assert len(searched) >= 4
    assert not any(CANARY.encode() in content for content in searched)


def searched_bytes(folder: Path) -> Iterator[bytes]:
    """Every file's content."""
    return (path.read_bytes() for path in folder.iterdir())


def message(conversation: ConversationId, seq: int, text: str, *, client_id: ClientId | None = None) -> Message:
    """Something bob said."""
    return Message(
        conversation=conversation,
        seq=seq,
        client_id=client_id or ClientId(fresh_id()),
        profile=bob.profile,
        device=bob_phone.id,
        account=bob.account,
        text=text,
        written=at(0),
        received=at(0),
        mine=False,
    )


@given(plaintext=st.binary(max_size=200), at_byte=st.integers(0, 1_000))
def test_a_sealed_value_opens_whole_and_in_its_place(plaintext: bytes, at_byte: int) -> None:
    """A cipher decrypts what it encrypted, differs each time, and refuses changed bytes, other cells and other keys."""
    cipher, cell = StoreCipher(bytes(KEY_BYTES)), Cell("table", "column", b"row")
    sealed = cipher.encrypt(cell, plaintext)
    assert cipher.decrypt(cell, sealed) == plaintext
    assert cipher.encrypt(cell, plaintext) != sealed
    at_byte %= len(sealed)
    changed = sealed[:at_byte] + bytes((sealed[at_byte] ^ 1,)) + sealed[at_byte + 1 :]
    for cipher_used, cell_used, value in (
        (cipher, cell, changed),
        (cipher, cell, sealed[:at_byte]),
        (cipher, Cell("table", "column", b"other"), sealed),
        (cipher, Cell("table", "other", b"row"), sealed),
        (cipher, Cell("table", "column", b"r", b"ow"), sealed),
        (StoreCipher(bytes([1]) * KEY_BYTES), cell, sealed),
    ):
        with pytest.raises(StoreDamaged):
            cipher_used.decrypt(cell_used, value)


def test_rows_cannot_be_exchanged_in_the_file() -> None:
    """Somebody who can write the file cannot put one contact's profile, or one device's key, in another's cell."""
    store = memory_store()
    with store.transaction():
        store.settings.put("one", "1")
        store.settings.put("two", "2")
        store._database.run("UPDATE setting SET sealed = (SELECT sealed FROM setting WHERE name = 'two')")
    assert store.settings.find("two", str) == "2"
    with pytest.raises(StoreDamaged):
        store.settings.find("one", str)


def test_secrets_are_not_in_a_repr() -> None:
    """Printing what opens a store prints no secret."""
    shown = repr((Passphrase(CANARY, CHEAP), StoreCipher(CANARY.encode()[:32]), endpoint(alice_laptop).store))
    assert CANARY not in shown
    assert CANARY[:32] not in shown


def test_a_number_comes_once() -> None:
    """A second message under a number, or with a client id, is not taken in."""
    store, conversation = memory_store(), ConversationId(fresh_id())
    first = message(conversation, 1, "one")
    with store.transaction():
        assert store.log.add(first)
        assert not store.log.add(message(conversation, 1, "another one"))
        assert not store.log.add(message(conversation, 2, "again", client_id=first.client_id))
        assert store.log.add(message(ConversationId(fresh_id()), 1, "elsewhere", client_id=first.client_id))
    assert [each.text for each in store.log.history(conversation, 10, None)] == ["one"]


def test_history_is_in_order_and_pages() -> None:
    """The last messages come in the order of their numbers, and the ones before them when asked."""
    store, conversation = memory_store(), ConversationId(fresh_id())
    with store.transaction():
        for seq in (3, 1, 2, 5, 4):
            store.log.add(message(conversation, seq, str(seq)))
    assert [each.seq for each in store.log.history(conversation, 2, None)] == [4, 5]
    assert [each.seq for each in store.log.history(conversation, 2, 4)] == [2, 3]


def test_a_transaction_is_whole() -> None:
    """When anything fails, nothing of it was done, blocks inside blocks included."""
    store = memory_store()

    def fail_inside() -> None:
        with store.transaction():
            store.settings.put("outer", 1)
            with store.transaction():
                store.settings.put("inner", 2)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_inside()
    assert store.settings.find("outer", int) is None
    assert store.settings.find("inner", int) is None


def test_nothing_is_written_outside_a_transaction() -> None:
    """A forgotten transaction is noticed."""
    with pytest.raises(AssertionError):
        memory_store().settings.put("x", 1)


def test_a_contact_is_a_name_for_a_profile() -> None:
    """A name stands for the profile it was last given to."""
    contacts = memory_store().contacts
    contacts.add("bob", ProfileId(id_of(1)))
    contacts.add("bob", bob.profile)
    assert contacts.all() == {"bob": bob.profile}
    assert contacts.profile_of("bob") == bob.profile
    assert contacts.name_of(bob.profile) == "bob"
    assert contacts.remove("bob")
    assert not contacts.remove("bob")
    assert contacts.profile_of("bob") is None


def test_an_old_store_is_brought_up(tmp_path: Path) -> None:
    """Opening runs every script that is missing, each whole, and none twice."""
    path = tmp_path / STORE_NAME
    for _ in range(2):
        database = Database(sqlite3.connect(path, isolation_level=None))
        assert database.row("PRAGMA user_version") == (len(VERSIONS),)
        assert database.row("PRAGMA journal_mode") == ("wal",)
        assert database.row("PRAGMA synchronous") == (2,)
        database.aclose_nowait()


async def test_a_tilde_is_the_persons_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the README shows works: paths are read as a shell would, in the folder and in the key file."""
    monkeypatch.setenv("HOME", str(tmp_path))
    async with open_store(Path("~/.varde-alice"), KeyFile("~/.varde-alice/key"), make=True):
        assert (tmp_path / ".varde-alice" / "key").exists()
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    assert f'KeyFile("~/.varde-alice/{KEY_FILE}")' in readme
