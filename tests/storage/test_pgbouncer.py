"""Debian's PgBouncer with the file of the document: session mode works, and the others are refused in clear words."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest
import trio

from domain.events import Event
from domain.ports import Stores
from domain.talk.events import MembershipChanged
from operations.doctor import Finding, Health, examine
from settings.environment import ConfigError
from settings.storage import DatabaseUrl, StorageSettings
from storage.stores import open_storage
from supervisor.ports import free_port
from tests.debian_postgres import GROUP, PASSWORD, DebianPostgres
from tests.house.tree import ROOT
from tests.ids import id_of
from tests.postgres import run_sql
from tests.postgres_server import _wait
from tests.system import require
from varde_contract.exception_groups import first_cause
from varde_contract.ids import ConversationId

pytestmark = pytest.mark.xdist_group(GROUP)
DOCUMENT = ROOT / "docs/operations/postgres.md"
USER = "without_tls"
PATIENCE = 30.0
CHANGED = MembershipChanged(ConversationId(id_of(7)), 3)


def blocks(kind: str) -> list[str]:
    """The blocks of one kind in the document."""
    return re.findall(rf"^```{kind}\n(.*?)^```$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@contextmanager
def open_pooler(folder: Path, postgres: DebianPostgres, database: str, **changes: str) -> Iterator[str]:
    """A PgBouncer in front of a database; yields the URL through it."""
    program = require("pgbouncer", "pgbouncer")
    port = free_port()
    (text,) = blocks("ini")
    changes |= {"listen_port": str(port), "auth_file": str(folder / "userlist.txt"), "unix_socket_dir": str(folder)}
    for name, value in changes.items():
        text = re.sub(rf"^{name} = .*\n", "", text, flags=re.MULTILINE) + f"{name} = {value}\n"
    text = re.sub(r"^varde = .*$", f"{database} = host=127.0.0.1 port={postgres.port}", text, flags=re.MULTILINE)
    (folder / "pgbouncer.ini").write_text(text)
    (folder / "userlist.txt").write_text(f'"{USER}" "{PASSWORD}"\n')
    folder.chmod(0o755)
    # As root it refuses to run; Debian's user of PostgreSQL is the one that its package uses, too.
    user = {"user": "postgres", "group": "postgres", "extra_groups": []} if is_root() else {}
    for parent in folder.parents if is_root() else ():
        if parent.stat().st_uid == 0 and not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o001)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen((program, folder / "pgbouncer.ini"), stdout=log, stderr=log, **user)  # type: ignore[call-overload]
    try:
        _wait(lambda: process.poll() is not None or b"process up" in (folder / "log").read_bytes())
        assert process.poll() is None, (folder / "log").read_text()
        yield f"postgresql://{USER}:{quote(PASSWORD, safe='')}@127.0.0.1:{port}/{database}"
    finally:
        process.terminate()
        process.wait(PATIENCE)


def is_root() -> bool:
    """Whether these tests run as root."""
    return Path("/proc/self").stat().st_uid == 0


def settings_of(url: str) -> StorageSettings:
    """A program's, with as few connections as it can do with."""
    return StorageSettings(database=DatabaseUrl(url), pool_min=1, pool_max=2)


async def hear(stores: Stores, other: Stores) -> None:
    """A word of one comes to the other: LISTEN works."""
    heard: list[Event] = []
    came = trio.Event()

    def receive(event: Event) -> None:
        heard.append(event)
        came.set()

    with other.bus.listen(receive, lambda *_: None) as listener:
        listener.subscribe(CHANGED.conversation)
        await stores.bus.publish([CHANGED])
        await came.wait()
    assert heard == [CHANGED]


async def test_session_mode_works(
    debian_postgres: DebianPostgres, debian_url: str, debian_database: str, tmp_path: Path
) -> None:
    """Two programs have their stores and their bus through it, with the settings that the document gives the role."""
    for statement in "".join(blocks("sql")).splitlines():
        run_sql(debian_url, statement.replace("ROLE varde", f"ROLE {USER}"))
    with open_pooler(tmp_path, debian_postgres, debian_database) as url, trio.fail_after(PATIENCE):
        async with open_storage(settings_of(url)) as stores, open_storage(settings_of(url)) as other:
            await hear(stores, other)
            assert await stores.schema.fits()


@pytest.mark.parametrize("mode", ["transaction", "statement"])
@pytest.mark.parametrize("round_robin", ["0", "1"])
async def test_other_modes_are_refused(
    debian_postgres: DebianPostgres, debian_database: str, tmp_path: Path, mode: str, round_robin: str
) -> None:
    """However it deals its sessions: by the programs, and by the doctor."""
    changes = {"pool_mode": mode, "server_round_robin": round_robin, "min_pool_size": "2"}
    with open_pooler(tmp_path, debian_postgres, debian_database, **changes) as url, trio.fail_after(PATIENCE):
        with pytest.raises((ConfigError, ExceptionGroup)) as refused:
            async with open_storage(settings_of(url)):
                pass
        assert "set pool_mode = session" in str(first_cause(refused.value))
        findings: list[Finding] = []
        await examine({"VARDE_DATABASE_URL": url, "VARDE_DATA": str(tmp_path)}, None, findings.append)
    (found,) = (finding for finding in findings if finding.what == "database")
    assert found.health is Health.BAD
    assert "set pool_mode = session" in found.text
