"""What making a folder once promises, whoever makes it."""

from pathlib import Path

import pytest

from storage.atomic_folder import make_folder_once


def test_it_is_filled_once(tmp_path: Path) -> None:
    """The second making neither fills nor touches the folder."""
    make_folder_once(tmp_path / "made", lambda draft: (draft / "first").touch())
    make_folder_once(tmp_path / "made", lambda draft: (draft / "second").touch())
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["first"]


def test_a_failed_filling_leaves_nothing_to_be_found(tmp_path: Path) -> None:
    """When the filling raises, the folder is not there, and the next making starts from nothing."""

    def fail(draft: Path) -> None:
        (draft / "half").touch()
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        make_folder_once(tmp_path / "made", fail)
    assert not (tmp_path / "made").exists()
    make_folder_once(tmp_path / "made", lambda draft: (draft / "whole").touch())
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["whole"]


def test_a_link_for_a_lock_is_refused(tmp_path: Path) -> None:
    """A privileged process cannot be led to create a file elsewhere."""
    (tmp_path / ".made.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match=r"\.made\.lock"):
        make_folder_once(tmp_path / "made", lambda draft: (draft / "first").touch())
    assert not (tmp_path / "elsewhere").exists()
