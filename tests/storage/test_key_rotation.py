"""Keys change in three steps: at each of them every reader accepts what any other one uses, also after a crash."""

import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from operations.backup import hand_out_keys
from storage import key_rotation
from storage.key_rotation import KEY_SETS, Stage, rotate, stage_of
from storage.keys import NAMES, STAGES, KeyFileError, make_keys, read_api_keys, read_relay_keys, write_text

SWITCHED_AT = time.time()
LATER = SWITCHED_AT + 48 * 3_600


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of keys that was just made."""
    made = tmp_path / "data" / "keys"
    make_keys(made)
    return made


def test_a_ticket_key_is_accepted_before_it_is_used_and_after(folder: Path) -> None:
    """Relays know both from the first step to the third; the API signs with the new one from the second on."""
    old = read_api_keys(folder).ticket_public
    assert rotate(folder, "ticket", LATER) is Stage.ANNOUNCED
    announced = read_relay_keys(folder)
    assert announced.ticket_public == read_api_keys(folder).ticket_public == old
    (new,) = announced.other_ticket_publics
    assert rotate(folder, "ticket", LATER) is Stage.SWITCHED
    switched = read_relay_keys(folder)
    assert (read_api_keys(folder).ticket_public, switched.ticket_publics) == (new, (new, old))
    assert rotate(folder, "ticket", LATER) is Stage.SETTLED
    assert read_relay_keys(folder).ticket_publics == (new,)
    assert {path.name for path in folder.iterdir()} == set(NAMES)


def test_the_relay_has_both_its_keys_and_the_api_names_one(folder: Path) -> None:
    """Noise key and KEM key change as one."""
    before = read_relay_keys(folder)
    rotate(folder, "relay", LATER)
    announced = read_relay_keys(folder)
    assert read_api_keys(folder).relay_public == before.relay_public
    rotate(folder, "relay", LATER)
    after = read_relay_keys(folder)
    assert ((after.relay_private, after.relay_kem_private),) == announced.other_privates
    assert after.other_privates == ((before.relay_private, before.relay_kem_private),)
    assert read_api_keys(folder).relay_kem_public == after.relay_kem_public != before.relay_kem_public


@pytest.mark.parametrize("name", KEY_SETS)
def test_an_old_key_stays_for_as_long_as_it_is_needed(folder: Path, name: str) -> None:
    """Its time has not passed, or nobody can know whether it has: the step is refused unless somebody insists."""
    rotate(folder, name, SWITCHED_AT)
    rotate(folder, name, SWITCHED_AT)
    with pytest.raises(KeyFileError, match="--insist"):
        rotate(folder, name, SWITCHED_AT + 23 * 3_600)
    assert stage_of(folder, name) is Stage.SWITCHED
    assert rotate(folder, name, SWITCHED_AT, insist=True) is Stage.SETTLED


@pytest.mark.parametrize("name", KEY_SETS)
def test_a_step_that_was_interrupted_is_taken_up(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever the machine stops, the next call ends in a step of the three, and no pair of keys is torn apart."""
    for done in (Stage.ANNOUNCED, Stage.SWITCHED, Stage.SETTLED):
        interrupted = 0
        for survived in range(20):
            aside = folder.with_name(f"{done}-{survived}")
            shutil.copytree(folder, aside)
            if not _rotate_and_die(aside, name, survived, monkeypatch):
                break
            interrupted += 1
            while stage_of(aside, name) is not done:
                rotate(aside, name, LATER, insist=True)
            read_relay_keys(aside)
            read_api_keys(aside)
            _require_whole(aside, name, done)
        assert interrupted >= len(KEY_SETS[name].files)
        assert rotate(folder, name, LATER, insist=True) is done


def _rotate_and_die(folder: Path, name: str, survived: int, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Make a step that dies after so many changes of files; False when it came to its end."""
    left = survived

    class PowerCutError(Exception):
        pass

    def counted(change: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **named: Any) -> Any:
            nonlocal left
            if left == 0:
                raise PowerCutError
            left -= 1
            return change(*arguments, **named)

        return run

    with monkeypatch.context() as patch:
        patch.setattr(key_rotation, "write_text", counted(write_text))
        patch.setattr(Path, "replace", counted(Path.replace))
        patch.setattr(os, "unlink", counted(os.unlink))
        with suppress(PowerCutError):
            rotate(folder, name, LATER, insist=True)
            return False
    return True


def _require_whole(folder: Path, name: str, stage: Stage) -> None:
    """Exactly the files of a stage are there."""
    beside = {Stage.ANNOUNCED: ".next", Stage.SWITCHED: ".old", Stage.SETTLED: None}[stage]
    expected = set(NAMES) | {file + beside for file in KEY_SETS[name].files if beside}
    assert {path.name for path in folder.iterdir()} == expected


def test_a_folder_that_was_handed_out_gets_what_changes(folder: Path, tmp_path: Path) -> None:
    """Each program gets the stages that it reads, and loses them with the last step; its own files stay."""
    relay, api = tmp_path / "relay", tmp_path / "api"
    hand_out_keys(folder.parent, "relay", relay)
    hand_out_keys(folder.parent, "api", api)
    (relay / "relay.mark").write_text("how far it was")
    for name in KEY_SETS:
        rotate(folder, name, LATER)
    hand_out_keys(folder.parent, "relay", relay)
    hand_out_keys(folder.parent, "api", api)
    assert read_relay_keys(relay) == read_relay_keys(folder)
    assert read_api_keys(api) == read_api_keys(folder)
    assert {path.name for path in api.iterdir() if path.suffix in STAGES} == {"pepper.next"}
    for name in KEY_SETS:
        rotate(folder, name, LATER)
        hand_out_keys(folder.parent, "relay", relay)
        hand_out_keys(folder.parent, "api", api)
        rotate(folder, name, LATER, insist=True)
    hand_out_keys(folder.parent, "relay", relay)
    hand_out_keys(folder.parent, "api", api)
    assert read_relay_keys(relay) == read_relay_keys(folder)
    assert not [path for path in (*relay.iterdir(), *api.iterdir()) if path.suffix in STAGES]
    assert (relay / "relay.mark").read_text() == "how far it was"


def test_a_folder_may_miss_the_step_that_does_not_concern_it(folder: Path, tmp_path: Path) -> None:
    """Relays get their keys after the first and the third step: nothing changes for them at the second."""
    relay = tmp_path / "relay"
    hand_out_keys(folder.parent, "relay", relay)
    for name in ("relay", "ticket"):
        rotate(folder, name, LATER)
        hand_out_keys(folder.parent, "relay", relay)
        rotate(folder, name, LATER)
        rotate(folder, name, LATER)
        hand_out_keys(folder.parent, "relay", relay)
    assert read_relay_keys(relay) == read_relay_keys(folder)


def test_another_servers_folder_is_left_alone(folder: Path, tmp_path: Path) -> None:
    """A wrong VARDE_DATA would otherwise put a new pepper over the only one that people can sign in with."""
    other = tmp_path / "other" / "keys"
    make_keys(other)
    hand_out_keys(folder.parent, "api", tmp_path / "api")
    with pytest.raises(KeyFileError, match="no key of this server"):
        hand_out_keys(other.parent, "api", tmp_path / "api")
    assert read_api_keys(tmp_path / "api") == read_api_keys(folder)
