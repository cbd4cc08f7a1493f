"""The operating system's users that programs run as when root starts them, and their way to the files they need.

PostgreSQL refuses to run as root. The servers could, but one that is broken into must not read the keys of another.
"""

import logging
import os
import pwd
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

SYSTEM_USER: Final = "pgserver"
USERADD_DEADLINE: Final = 60.0  # seconds; it waits for the lock of the password file

_log = logging.getLogger(__name__)


class OsUserError(Exception):
    """No user can be found, made or used; the text says what to do."""


@dataclass(frozen=True, slots=True)
class OsUser:
    """Who runs a program. `foreign`: not the user of this process, so root has to hand things over."""

    uid: int
    gid: int
    foreign: bool

    def assume(self) -> None:
        """Become this user, for good and with no other groups."""
        if self.foreign:
            # The user last: who is not root any more may not give up its groups.
            os.setgroups([])
            os.setgid(self.gid)
            os.setuid(self.uid)
            # asyncpg looks for ~/.pgpass at each connection over TCP, and takes "not allowed to look" for an outage.
            os.environ["HOME"] = "/"

    def give(self, path: Path) -> None:
        """Make this user the owner of `path`."""
        if self.foreign:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def for_subprocess(self) -> dict[str, Any]:
        """Arguments with which `subprocess.run` runs a program as this user."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []} if self.foreign else {}

    def let_through(self, folder: Path) -> None:
        """Let this user pass through `folder` and those above it.

        Passing (x) is all it gets: the folders cannot be listed, and what lies beside the path stays closed.
        """
        if self.foreign:
            for each in (folder, *folder.parents):
                _add_mode(each, stat.S_IXOTH)

    def let_read(self, tree: Path) -> None:
        """Let this user read and run everything under `tree`, which an installation with umask 077 does not allow."""
        if self.foreign and not tree.stat().st_mode & stat.S_IROTH:
            for folder, _, files in os.walk(tree):
                _add_mode(Path(folder), stat.S_IROTH | stat.S_IXOTH)
                for name in files:
                    file = Path(folder, name)
                    runs = file.stat().st_mode & stat.S_IXUSR
                    _add_mode(file, stat.S_IROTH | (stat.S_IXOTH if runs else 0))


def choose_os_user(name: str = SYSTEM_USER) -> OsUser:
    """For something new: this user or, when it is root, the system user of that name, which is made when absent.

    Raises:
        OsUserError: there is no system user and it cannot be made.
    """
    if os.geteuid() != 0:
        return OsUser(os.geteuid(), os.getegid(), foreign=False)
    entry = _system_user(name)
    return OsUser(entry.pw_uid, entry.pw_gid, foreign=True)


def owner_of(path: Path) -> OsUser:
    """For something that exists: its owner, whoever that is.

    Raises:
        OsUserError: the owner is root, or somebody this process cannot become.
    """
    owner, me = path.stat(), os.geteuid()
    if owner.st_uid == 0:
        raise OsUserError(f"{path} belongs to root, as whom Postgres refuses to run: chown -R {SYSTEM_USER} {path}")
    if me not in {0, owner.st_uid}:
        raise OsUserError(f"{path} belongs to user {owner.st_uid}: run this as that user, or as root")
    return OsUser(owner.st_uid, owner.st_gid, foreign=me == 0)


def _system_user(name: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        said = _useradd(name)
    try:  # whatever it said: another process may have made the user in the same moment
        return pwd.getpwnam(name)
    except KeyError:
        raise OsUserError(f"root needs a user to run a program as: useradd --system {name} ({said})") from None


def _useradd(name: str) -> str:
    command = ("useradd", "--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin", name)
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=USERADD_DEADLINE)  # noqa: S603  our own words
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return done.stderr.strip()


def _add_mode(path: Path, bits: int) -> None:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & bits != bits:
        path.chmod(mode | bits)
        _log.warning("mode of %s changed from %04o to %04o, for another user to get there", path, mode, mode | bits)
