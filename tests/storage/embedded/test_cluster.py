"""What the embedded cluster promises about its folder, its owner and its socket."""

import os
import shutil
import stat
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from storage.embedded import cluster
from storage.embedded.cluster import ClusterError, embedded_url, prepare_cluster
from storage.embedded.os_user import choose_os_user

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs Postgres as somebody else")


@pytest.fixture
def copied(prepared: Path, short_path: Path) -> Path:
    """A folder with a cluster in it that only looks like one: enough to be judged, too little to be run."""
    made = short_path / "cluster"
    made.mkdir(mode=0o700)
    shutil.copy(prepared / "cluster" / "PG_VERSION", made)
    choose_os_user().give(made)
    return short_path


@pytest.fixture
def short_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another place for the sockets of clusters whose own path is too long."""
    folder = tmp_path / "short"
    folder.mkdir()
    monkeypatch.setattr(cluster, "SHORT_FOLDERS", folder)
    return folder


def socket_folder(url: str) -> str:
    """Where a client with this URL looks for the server."""
    return parse_qs(urlsplit(url).query)["host"][0]


def test_a_cluster_is_made_once(prepared: Path) -> None:
    """The second preparation finds the first one's cluster."""
    control = prepared / "cluster" / "global" / "pg_control"
    before = control.stat()
    prepare_cluster(prepared)
    after = control.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert sorted(path.name for path in prepared.iterdir()) == [".cluster.lock", "cluster"]


def test_only_its_user_can_reach_the_cluster(prepared: Path) -> None:
    """The folder of data and socket is closed to everybody else, and the server listens nowhere but there."""
    launch = prepare_cluster(prepared)
    assert stat.S_IMODE(launch.cluster.stat().st_mode) == 0o700
    assert launch.cluster.stat().st_uid == launch.user.uid
    assert f"unix_socket_directories={launch.cluster}" in launch.argv
    assert "listen_addresses=" in launch.argv
    rules = [line.split() for line in (launch.cluster / "pg_hba.conf").read_text().splitlines()]
    assert {rule[-1] for rule in rules if rule and rule[0].startswith("host")} == {"reject"}


def test_commits_are_safe(prepared: Path) -> None:
    """Nothing in the command line or the cluster's settings weakens what a commit means."""
    configuration = (prepared / "cluster" / "postgresql.conf").read_text().splitlines()
    said = [*prepare_cluster(prepared).argv, *configuration]
    for name in ("fsync", "full_page_writes", "synchronous_commit"):
        assert not [line for line in said if line.startswith(name)]


@ROOT_ONLY
def test_root_runs_postgres_as_the_owner_of_the_cluster(prepared: Path, copied: Path) -> None:
    """Root hands a new cluster to a user of its own, and an old one back to whoever owns it."""
    assert prepare_cluster(prepared).user == choose_os_user()
    os.chown(copied / "cluster", 12345, 12346)
    user = prepare_cluster(copied).user
    assert (user.uid, user.gid, user.foreign) == (12345, 12346, True)


@ROOT_ONLY
def test_a_cluster_of_root_is_refused(copied: Path) -> None:
    """Postgres does not run as root, so what root owns needs another owner first; the error says how."""
    os.chown(copied / "cluster", 0, 0)
    with pytest.raises(ClusterError, match=r"belongs to root.*chown"):
        prepare_cluster(copied)


@ROOT_ONLY
def test_a_strangers_cluster_is_refused(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user who is neither root nor the owner is told whose it is."""
    os.chown(copied / "cluster", 12345, 12345)
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    with pytest.raises(ClusterError, match="belongs to user 12345"):
        prepare_cluster(copied)


@ROOT_ONLY
def test_root_opens_the_way_and_nothing_else(copied: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A closed folder above the cluster is opened for passing only, and said to be; what lies beside stays closed."""
    beside = copied / "keys"
    beside.mkdir(mode=0o700)
    copied.chmod(0o700)
    prepare_cluster(copied)
    assert stat.S_IMODE(copied.stat().st_mode) == 0o701
    assert stat.S_IMODE(beside.stat().st_mode) == 0o700
    assert f"mode of {copied} changed from 0700 to 0701" in caplog.text


@ROOT_ONLY
def test_a_closed_installation_is_opened_for_reading(tmp_path: Path) -> None:
    """Programs that were installed with umask 077 can be read and run by the user who runs Postgres, and only that."""
    tree = tmp_path / "tree"
    (tree / "bin").mkdir(parents=True)
    for path, mode in ((tree, 0o700), (tree / "bin", 0o700)):
        path.chmod(mode)
    for name, mode in (("program", 0o700), ("text", 0o600)):
        (tree / "bin" / name).touch()
        (tree / "bin" / name).chmod(mode)
    choose_os_user().let_read(tree)
    modes = [
        stat.S_IMODE(path.stat().st_mode) for path in (tree, tree / "bin", tree / "bin/program", tree / "bin/text")
    ]
    assert modes == [0o705, 0o705, 0o705, 0o604]


def test_a_folder_with_something_else_is_refused(tmp_path: Path) -> None:
    """A folder that holds no cluster is left as it is."""
    (tmp_path / "cluster").mkdir()
    (tmp_path / "cluster" / "diary").touch()
    with pytest.raises(ClusterError, match="is not a Postgres cluster"):
        prepare_cluster(tmp_path)
    assert [path.name for path in (tmp_path / "cluster").iterdir()] == ["diary"]


def test_another_version_is_refused(copied: Path) -> None:
    """Data of another major version is refused by its number before a server looks at it."""
    (copied / "cluster" / "PG_VERSION").write_text("16\n")
    with pytest.raises(ClusterError, match="made by PostgreSQL 16"):
        prepare_cluster(copied)


def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    """What stands where the folder should be is named."""
    (tmp_path / "postgres").write_text("a file")
    with pytest.raises(ClusterError, match="postgres"):
        prepare_cluster(tmp_path / "postgres")


def test_the_url_is_the_same_for_everybody(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The URL follows from the folder: however it is spelled, and whatever the environment of the process."""
    url = embedded_url(short_path / "postgres")
    assert socket_folder(url) == str(short_path / "postgres" / "cluster")
    (short_path / "link").symlink_to(short_path)
    assert embedded_url(short_path / "link" / "postgres") == url
    monkeypatch.setenv("TMPDIR", "/nowhere")
    monkeypatch.setenv("PGPORT", "1")
    assert embedded_url(short_path / "postgres") == url
    monkeypatch.chdir(short_path)
    assert embedded_url(Path("postgres")) == url


@pytest.mark.parametrize("name", ["x" * 100, "with, comma", "blåbær", "a b"])
def test_a_path_unfit_for_a_socket_gets_a_short_one(tmp_path: Path, short_folders: Path, name: str) -> None:
    """Where a socket's path would be too long or be taken apart, a private folder elsewhere takes its place."""
    (tmp_path / name / "cluster").mkdir(parents=True)
    (tmp_path / name / "cluster" / "PG_VERSION").write_text("18\n")
    choose_os_user().give(tmp_path / name / "cluster")
    launch = prepare_cluster(tmp_path / name)
    (short,) = short_folders.iterdir()
    assert socket_folder(embedded_url(tmp_path / name)) == str(short)
    assert f"unix_socket_directories={short}" in launch.argv
    assert (stat.S_IMODE(short.stat().st_mode), short.stat().st_uid) == (0o700, launch.user.uid)
    assert prepare_cluster(tmp_path / name) == launch


def test_two_clusters_never_share_a_short_folder(short_folders: Path) -> None:
    """Different folders have different sockets."""
    assert embedded_url(Path("/srv/a b")) != embedded_url(Path("/srv/a c"))


@pytest.mark.parametrize("spoil", ["mode", "link", "owner"])
def test_a_short_folder_made_by_a_stranger_is_refused(copied: Path, short_folders: Path, spoil: str) -> None:
    """Whoever was faster in the shared place does not get to answer in the database's name."""
    folder = copied / "a b"
    folder.mkdir()
    (copied / "cluster").rename(folder / "cluster")
    short = Path(socket_folder(embedded_url(folder)))
    short.mkdir(mode=0o700)
    if spoil == "mode":
        short.chmod(0o777)
    elif spoil == "link":
        short.rename(short_folders / "elsewhere")
        short.symlink_to(short_folders / "elsewhere")
    elif os.geteuid() == 0:
        os.chown(short, 12345, 12345)
    else:
        pytest.skip("only root can give a folder away")
    for ask in (prepare_cluster, embedded_url):
        with pytest.raises(ClusterError, match="should be a private folder"):
            ask(folder)
