"""An operator begins a new transparency log, because a restored database lacks what was signed: all lists are in it."""

from pathlib import Path
from uuid import UUID

import pytest
import trio
from click.testing import CliRunner, Result

from domain.jobs.ports import WorkerId
from domain.transparency.log import Log
from domain.transparency.sequencing import LogFault, Signed, sequence
from settings.storage import DatabaseUrl, StorageSettings
from storage.__main__ import main
from storage.log_key import LogKey
from storage.stores import open_storage
from tests.cast import BIRTH_MS, alice, bob, settle

WORKER = WorkerId(UUID(int=7))


def say_new_log(environ: dict[str, str]) -> Result:
    """Say `python -m storage new-log`, and yes."""
    return CliRunner(env=environ).invoke(main, ["new-log", "--yes"])


async def test_a_new_log_holds_every_list(tmp_path: Path, database_url: str) -> None:
    """The old key signs no shorter log; with a new one, each list is proven again, and the old one is kept."""
    environ = {"VARDE_DATA": str(tmp_path), "VARDE_DATABASE_URL": database_url}
    config = StorageSettings(database=DatabaseUrl(database_url))
    old = LogKey(tmp_path / "log")
    async with open_storage(config) as stores:
        await settle(stores, alice, bob)
        head = await sequence(stores.transparency, old.signers, BIRTH_MS)
        assert head is not None
        with pytest.raises(LogFault, match="were signed before"):
            await sequence(stores.transparency, old.signers, BIRTH_MS + 60_000, Signed(head.size + 1, bytes(32)))
        assert await stores.leases.take("checkpoints", WORKER, 60_000)
        busy = await trio.to_thread.run_sync(say_new_log, environ)
        assert (busy.exit_code, "may still be signing" in busy.output) == (1, True)
        await stores.leases.release("checkpoints", WORKER)
        done = await trio.to_thread.run_sync(say_new_log, environ)
        assert done.exit_code == 0, done.output
        assert f"{head.size} device lists" in done.output
        (ended,) = [each for each in await trio.Path(tmp_path).iterdir() if each.name.startswith("log.ended-")]
        assert LogKey(Path(ended)).signers[0].key == old.signers[0].key
        fresh = LogKey(tmp_path / "log")
        again = await sequence(stores.transparency, fresh.signers, BIRTH_MS + 120_000)
        assert again is not None
        assert (again.size, again.vkeys) != (head.size, head.vkeys)
        for person in (alice, bob):
            found = await Log(stores.transparency).lookup(person.account, 1)
            stored = await stores.devices.lists(person.account, 1, 9)
            assert found is not None
            assert [each.logged.entry.digest for each in found[1]] == [each.digest for each in stored]
