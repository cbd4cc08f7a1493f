"""Who may open a store: passphrases, key files, one process at a time."""

import os
import sqlite3
import stat
import sys
from pathlib import Path

import pytest
import trio

from varde.errors import NotEnrolled, StoreDamaged, StoreInUse, WrongKey
from varde.store import KeyFile, Passphrase, open_store
from varde.store.schema import VERSIONS
from varde.store.store import STORE_NAME
from varde.store.unlock import Argon2Cost

CHEAP = Argon2Cost(passes=1, memory=8192)


def passphrase(text: str = "riktig hest batteri stift") -> Passphrase:
    """A passphrase whose guesses cost little."""
    return Passphrase(text, CHEAP)


@pytest.mark.parametrize("kind", ["passphrase", "key-file"])
async def test_what_was_kept_is_there_again(tmp_path: Path, kind: str) -> None:
    """A store opened again with the same key holds what was written."""
    unlock = passphrase() if kind == "passphrase" else KeyFile(tmp_path / "keys" / "store.key")
    async with open_store(tmp_path / "home", unlock, make=True) as store:
        with store.transaction():
            store.settings.put("word", "varde")
    async with open_store(tmp_path / "home", unlock) as store:
        assert store.settings.find("word", str) == "varde"


async def test_a_wrong_passphrase_is_refused(tmp_path: Path) -> None:
    """Nothing opens with another passphrase, and the right one still does."""
    async with open_store(tmp_path, passphrase(), make=True):
        pass
    with pytest.raises(WrongKey):
        async with open_store(tmp_path, passphrase("feil")):
            pytest.fail("it opened")
    async with open_store(tmp_path, passphrase()):
        pass


async def test_a_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    """A store made with a passphrase says so when it is given a key file, and the other way round."""
    async with open_store(tmp_path / "a", passphrase(), make=True):
        pass
    with pytest.raises(WrongKey, match="passphrase"):
        async with open_store(tmp_path / "a", KeyFile(tmp_path / "key")):
            pytest.fail("it opened")
    assert not (tmp_path / "key").exists()


async def test_a_lost_key_file_is_not_made_anew(tmp_path: Path) -> None:
    """A store whose key file is gone is refused: a new file would look like a way in."""
    key = tmp_path / "key"
    async with open_store(tmp_path / "home", KeyFile(key), make=True):
        pass
    key.unlink()
    with pytest.raises(WrongKey):
        async with open_store(tmp_path / "home", KeyFile(key)):
            pytest.fail("it opened")
    assert not key.exists()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
async def test_a_key_file_others_can_touch_is_refused(tmp_path: Path, mode: int) -> None:
    """A key that others can read or write is none."""
    key = KeyFile(tmp_path / "key")
    async with open_store(tmp_path / "home", key, make=True):
        pass
    key.path.chmod(mode)
    with pytest.raises(WrongKey, match="others"):
        async with open_store(tmp_path / "home", key):
            pytest.fail("it opened")


async def test_a_key_file_of_another_size_is_refused(tmp_path: Path) -> None:
    """A file that happens to lie there is no key."""
    key = tmp_path / "key"
    key.write_bytes(b"short")
    key.chmod(0o600)
    with pytest.raises(WrongKey):
        async with open_store(tmp_path / "home", KeyFile(key), make=True):
            pytest.fail("it opened")


async def test_an_empty_passphrase_is_refused(tmp_path: Path) -> None:
    """No passphrase is no protection."""
    with pytest.raises(WrongKey):
        async with open_store(tmp_path, passphrase(""), make=True):
            pytest.fail("it opened")


async def test_files_are_their_owners_alone(tmp_path: Path) -> None:
    """Folder, store, lock and key file are readable by nobody else."""
    home, key = tmp_path / "home", tmp_path / "key"
    async with open_store(home, KeyFile(key), make=True):
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (home, key, *home.iterdir())}
    assert modes.pop("home") == 0o700
    assert set(modes.values()) == {0o600}, modes


async def test_there_is_no_store_without_enrolment(tmp_path: Path) -> None:
    """A folder that was never enrolled is not quietly turned into a store."""
    with pytest.raises(NotEnrolled):
        async with open_store(tmp_path, passphrase()):
            pytest.fail("it opened")
    assert not (tmp_path / STORE_NAME).exists()


async def test_one_process_at_a_time(tmp_path: Path) -> None:
    """The second one to open a store is told so at once; when the first is gone, it may."""
    async with open_store(tmp_path, passphrase(), make=True):
        with pytest.raises(StoreInUse):
            async with open_store(tmp_path, passphrase()):
                pytest.fail("it opened")
    async with open_store(tmp_path, passphrase()):
        pass


async def test_a_killed_process_leaves_no_lock(tmp_path: Path) -> None:
    """The lock dies with its process, however that dies."""
    async with open_store(tmp_path, passphrase(), make=True):
        pass
    held = (
        "import sys, time, pathlib\n"
        "from varde.store.store import hold_lock\n"
        "with hold_lock(pathlib.Path(sys.argv[1])):\n"
        "    print('held', flush=True)\n"
        "    time.sleep(60)\n"
    )
    process = await trio.lowlevel.open_process(
        [sys.executable, "-c", held, str(tmp_path)],
        stdout=-1,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout is not None
    assert (await process.stdout.receive_some()).startswith(b"held")
    with pytest.raises(StoreInUse):
        async with open_store(tmp_path, passphrase()):
            pytest.fail("it opened")
    process.kill()
    await process.wait()
    await process.stdout.aclose()
    async with open_store(tmp_path, passphrase()):
        pass


async def test_a_file_that_is_no_store_is_refused(tmp_path: Path) -> None:
    """Neither text nor the database of another program is taken for a store."""
    (tmp_path / STORE_NAME).write_bytes(b"no database at all, and long enough to look at " * 100)
    with pytest.raises(StoreDamaged):
        async with open_store(tmp_path, passphrase(), make=True):
            pytest.fail("it opened")
    (tmp_path / STORE_NAME).unlink()
    with sqlite3.connect(tmp_path / STORE_NAME) as other:
        other.execute("PRAGMA application_id = 77")
    other.close()
    with pytest.raises(StoreDamaged):
        async with open_store(tmp_path, passphrase(), make=True):
            pytest.fail("it opened")


async def test_a_store_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    """An older client does not touch what it does not know."""
    async with open_store(tmp_path, passphrase(), make=True):
        pass
    newer = sqlite3.connect(tmp_path / STORE_NAME)
    newer.execute(f"PRAGMA user_version = {len(VERSIONS) + 1}")
    newer.close()
    with pytest.raises(StoreDamaged):
        async with open_store(tmp_path, passphrase()):
            pytest.fail("it opened")
