"""The users of the programs as an operator makes them, on a PostgreSQL that is not ours: made, granted, and in use."""

import os
import subprocess
import sys

import pytest

from domain.ports import StoreUnavailable
from domain.talk import model as talk
from settings.storage import DatabaseUrl, StorageSettings
from storage.embedded.cluster import program
from storage.stores import open_storage
from tests.cast import alice, alice_phone, bob, open_conversation, settle
from tests.debian_postgres import GROUP, DebianPostgres
from tests.house import tree
from tests.store_contracts.messages import draft

pytestmark = pytest.mark.xdist_group(GROUP)

USERS = tree.ROOT / "deploy" / "compose" / "users.sql"


# asyncpg does not wait for the end of a TLS connection whose password was refused. On a busy machine the loop is closed
# before the server has said goodbye, and uvloop complains of the transport.
@pytest.mark.filterwarnings("ignore:.*__uv_walk_close_all_handles_cb:pytest.PytestUnraisableExceptionWarning")
async def test_each_program_comes_as_itself_over_tls(
    debian_postgres: DebianPostgres, debian_url: str, debian_database: str
) -> None:
    """By the file of compose, and `varde migrate`: with its own password, and not with another's."""
    passwords = {f"{each}_DATABASE_PASSWORD": f"it's {each}" for each in ("RELAY", "API", "WORKER")}
    psql = (program("psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", debian_url, "-f", USERS)
    subprocess.run(psql, check=True, env=os.environ | passwords)
    migrate = (sys.executable, "-m", "storage", "migrate")
    said = subprocess.run(migrate, check=True, env=os.environ | {"VARDE_DATABASE_URL": debian_url}, capture_output=True)
    assert b"granted to varde_api, varde_relay, varde_worker" in said.stdout

    def settings(user: str, password: str) -> StorageSettings:
        url = debian_postgres.url(user, debian_database, password=password, **debian_postgres.trusted)
        return StorageSettings(database=DatabaseUrl(url), pool_min=1, pool_max=1)

    async with (
        open_storage(settings("varde_api", "it's API")) as api,
        open_storage(settings("varde_relay", "it's RELAY")) as relay,
    ):
        await settle(api, alice, bob)
        room = await open_conversation(api, alice, bob)
        (done,) = await relay.journal.commit([draft(alice_phone, room)])
        assert isinstance(done, talk.Committed)
        with pytest.raises(StoreUnavailable):
            await relay.accounts.find(alice.account)
    with pytest.raises(StoreUnavailable):
        async with open_storage(settings("varde_worker", "it's API")):
            pytest.fail("it opened")
