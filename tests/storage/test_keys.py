"""What the servers' key files promise: made once, refused when anything about them is wrong."""

import base64
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from storage.keys import (
    NAMES,
    ApiKeys,
    KeyFileError,
    RelayKeys,
    ServerKeys,
    make_keys,
    open_keys,
    read_api_keys,
    read_relay_keys,
)

RELAY_NAMES = ("relay.key", "relay.pub", "relay.kem", "relay.kem.pub", "ticket.pub")
API_NAMES = ("relay.pub", "relay.kem.pub", "ticket.key", "ticket.pub", "pepper")
READERS = [*((read_relay_keys, name) for name in RELAY_NAMES), *((read_api_keys, name) for name in API_NAMES)]
Read = Callable[[Path], object]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of keys that was just made."""
    made = tmp_path / "data" / "keys"
    make_keys(made)
    return made


def test_keys_are_made_and_found_again(tmp_path: Path) -> None:
    """The second opening finds what the first has made; the pairs belong together and the pepper is of full length."""
    first = open_keys(tmp_path / "data" / "keys")
    assert open_keys(tmp_path / "data" / "keys") == first
    assert (
        X25519PrivateKey.from_private_bytes(first.relay_private).public_key().public_bytes_raw() == first.relay_public
    )
    signature = Ed25519PrivateKey.from_private_bytes(first.ticket_private).sign(b"ticket")
    Ed25519PublicKey.from_public_bytes(first.ticket_public).verify(signature, b"ticket")
    assert len(first.pepper) == 32


def test_two_folders_hold_different_keys(tmp_path: Path) -> None:
    """No key is ever made twice."""
    one, other = open_keys(tmp_path / "one"), open_keys(tmp_path / "other")
    texts = [(tmp_path / folder / name).read_text() for folder in ("one", "other") for name in NAMES]
    assert len(set(texts)) == 2 * len(NAMES)
    assert one != other


def test_only_the_owner_may_look(folder: Path) -> None:
    """The folder has mode 0700, every file 0600, whatever the umask; nothing else lies there."""
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()} == dict.fromkeys(NAMES, 0o600)


def test_each_program_reads_only_what_it_needs(folder: Path) -> None:
    """The relay can do without the API's secrets, and the API without the relay's."""
    keys = open_keys(folder)
    expected_relay = RelayKeys(
        relay_private=keys.relay_private,
        relay_public=keys.relay_public,
        relay_kem_private=keys.relay_kem_private,
        relay_kem_public=keys.relay_kem_public,
        ticket_public=keys.ticket_public,
    )
    expected_api = ApiKeys(
        relay_public=keys.relay_public,
        relay_kem_public=keys.relay_kem_public,
        ticket_private=keys.ticket_private,
        ticket_public=keys.ticket_public,
        pepper=keys.pepper,
    )
    (folder / "relay.key").rename(folder.parent / "relay.key")
    assert read_api_keys(folder) == expected_api
    (folder.parent / "relay.key").rename(folder / "relay.key")
    (folder / "ticket.key").unlink()
    (folder / "pepper").unlink()
    assert read_relay_keys(folder) == expected_relay


def test_secrets_are_not_shown(folder: Path) -> None:
    """No private key and no pepper appears in a repr."""
    keys = open_keys(folder)
    shown = repr((keys, read_relay_keys(folder), read_api_keys(folder)))
    for secret in (keys.relay_private, keys.relay_kem_private, keys.ticket_private, keys.pepper):
        assert repr(secret) not in shown
    assert repr(keys.relay_public) in shown


@pytest.mark.parametrize(("read", "name"), READERS)
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601])
def test_a_file_open_to_others_is_refused(folder: Path, read: Read, name: str, mode: int) -> None:
    """One bit for group or others is enough, on a public key as well: who can write it can replace it."""
    (folder / name).chmod(mode)
    with pytest.raises(KeyFileError, match=f"{name} has mode {mode:04o}"):
        read(folder)


@pytest.mark.parametrize("read", [read_relay_keys, read_api_keys])
def test_a_folder_open_to_others_is_refused(folder: Path, read: Read) -> None:
    """Whoever may write the folder may swap the files in it."""
    folder.chmod(0o750)
    with pytest.raises(KeyFileError, match="keys has mode 0750"):
        read(folder)


@pytest.mark.parametrize(("read", "name"), READERS)
def test_a_missing_file_is_refused(folder: Path, read: Read, name: str) -> None:
    """A key that is gone is not made again behind anybody's back: what it signed or hashed would be void."""
    (folder / name).unlink()
    with pytest.raises(KeyFileError, match=f"{name} cannot be read.*backup"):
        read(folder)
    with pytest.raises(KeyFileError, match=name):
        open_keys(folder)
    assert not (folder / name).exists()


@pytest.mark.parametrize(("read", "name"), READERS)
@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"!" * 44, base64.b64encode(b"k" * 31), base64.b64encode(b"k" * 33), b"A" * 10_000, b"\xff\x00"],
)
def test_a_damaged_file_is_refused(folder: Path, read: Read, name: str, content: bytes) -> None:
    """Whatever is not 32 bytes in base64 is refused by the file's name, without showing what it holds."""
    (folder / name).write_bytes(content)
    with pytest.raises(KeyFileError, match=f"{name} is damaged"):
        read(folder)


@pytest.mark.parametrize(
    ("read", "name", "size"),
    [(read_relay_keys, "relay.pub", 32), (read_relay_keys, "relay.kem.pub", 1_184), (read_api_keys, "ticket.pub", 32)],
)
def test_a_public_key_that_belongs_to_another_is_refused(folder: Path, read: Read, name: str, size: int) -> None:
    """A pair that does not belong together would only be found out by clients who cannot connect."""
    (folder / name).write_text(base64.b64encode(b"k" * size).decode())
    with pytest.raises(KeyFileError, match=f"{name} does not belong"):
        read(folder)


@pytest.mark.parametrize(("read", "name"), READERS)
def test_a_link_is_refused(folder: Path, read: Read, name: str) -> None:
    """A link's target may be anywhere and anybody's."""
    target = folder.parent / name
    (folder / name).rename(target)
    (folder / name).symlink_to(target)
    with pytest.raises(KeyFileError, match=f"{name} cannot be read"):
        read(folder)


def test_a_pipe_is_refused(folder: Path) -> None:
    """What is no file is refused, and opening it waits for nobody."""
    (folder / "pepper").unlink()
    os.mkfifo(folder / "pepper", 0o600)
    with pytest.raises(KeyFileError, match="pepper is not a file"):
        read_api_keys(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_strangers_file_is_refused(folder: Path) -> None:
    """A key that somebody else owns may be replaced by them at any time."""
    os.chown(folder / "relay.key", 12345, -1)
    with pytest.raises(KeyFileError, match=r"relay.key belongs to user 12345"):
        read_relay_keys(folder)


@pytest.mark.parametrize("read", [read_relay_keys, read_api_keys])
def test_reading_makes_nothing(tmp_path: Path, read: Read) -> None:
    """Keys that have not been made are missed, not made."""
    with pytest.raises(KeyFileError, match="have not been made"):
        read(tmp_path / "keys")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    """What stands in the way is named."""
    (tmp_path / "data").write_text("a file")
    with pytest.raises(KeyFileError, match="cannot be made"):
        make_keys(tmp_path / "data" / "keys")


def test_many_processes_at_once_make_one_set(tmp_path: Path) -> None:
    """However many programs start at the same time, all of them get the same keys."""
    code = "import pathlib, sys; from storage.keys import open_keys; print(open_keys(pathlib.Path(sys.argv[1])).pepper)"
    command = (sys.executable, "-c", code, str(tmp_path / "keys"))
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(6)]
    said = [process.communicate()[0] for process in running]
    assert [process.returncode for process in running] == [0] * 6
    assert set(said) == {f"{open_keys(tmp_path / 'keys').pepper!r}\n"}


def test_what_a_killed_process_left_is_cleared_away(tmp_path: Path) -> None:
    """A process killed while making the keys leaves no half set behind for the next one."""
    draft = tmp_path / ".keys.draft"
    draft.mkdir()
    (draft / "relay.key").write_text("half")
    assert isinstance(open_keys(tmp_path / "keys"), ServerKeys)
    assert not draft.exists()
