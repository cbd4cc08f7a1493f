"""A changed list is provable within five seconds: a real worker and the real store, as a client would see it."""

import os
import subprocess
import sys
from pathlib import Path
from uuid import UUID

import trio

from domain.transparency.log import Log
from settings.storage import DatabaseUrl, StorageSettings
from storage.log_key import LogKey
from storage.stores import open_storage
from tests.postgres import url_of
from varde_contract.ids import AccountId
from varde_contract.transparency.checkpoint import open_checkpoint
from varde_contract.transparency.entry import Entry
from varde_contract.transparency.merkle import check_consistency, check_inclusion

PROMISED = 5.0
ACCOUNT = AccountId(UUID(int=7))


async def test_a_changed_list_is_provable_within_five_seconds(tmp_path: Path, database_url: str) -> None:
    """From the commit to the proof, five times; each checkpoint has the one before as its beginning."""
    environ = os.environ | {"VARDE_DATA": str(tmp_path), "VARDE_DATABASE_URL": url_of("varde_worker", database_url)}
    config = StorageSettings(database=DatabaseUrl(database_url))
    command = (sys.executable, "-m", "worker")
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE) as worker:  # noqa: ASYNC220 - once, for the test
        try:
            assert worker.stdout is not None
            worker.stdout.readline()  # it is ready
            async with open_storage(config) as stores:
                log, seen = Log(stores.transparency), None
                keys = [each.key for each in LogKey(tmp_path / "log").signers]
                for number in range(1, 6):
                    entry = Entry(ACCOUNT, number, bytes(32))
                    await stores.transparency.enqueue([entry])
                    with trio.fail_after(PROMISED):
                        found = await log.lookup(ACCOUNT, number)
                        while found is None or not found[1]:
                            await trio.sleep(0.05)  # as a client that asks again and again
                            found = await log.lookup(ACCOUNT, number)
                    head, (proven,) = found
                    checkpoint = open_checkpoint(head.note, keys).checkpoint
                    hashes = proven.hashes
                    check_inclusion(proven.logged.index, checkpoint.size, entry.leaf(), checkpoint.root, hashes)
                    if seen is not None:
                        proof = await log.consistency(seen.size, checkpoint.size)
                        assert proof is not None
                        check_consistency(seen.size, checkpoint.size, seen.root, checkpoint.root, proof)
                    seen = checkpoint
        finally:
            worker.terminate()
