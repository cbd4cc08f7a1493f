"""Opening the storage: what it checks before anybody is served, and how errors leave it."""

import pytest

from settings.storage import DatabaseUrl, StorageSettings
from storage.migrate import SchemaError
from storage.stores import open_storage
from tests.cast import alice, settle


async def test_a_database_without_the_schema_is_refused(bare_database_url: str) -> None:
    """A database that was never migrated is not opened, and the error names the command."""
    with pytest.raises(SchemaError, match="varde migrate"):
        async with open_storage(StorageSettings(database=DatabaseUrl(bare_database_url), pool_min=1, pool_max=1)):
            pytest.fail("it opened")


async def test_what_the_block_raises_comes_out_as_it_is(database_url: str) -> None:
    """An error of the caller is not wrapped or renamed on its way out."""

    class Mine(OSError):
        """An error that the stores would rename, were it theirs."""

    with pytest.raises(Mine):
        async with open_storage(StorageSettings(database=DatabaseUrl(database_url), pool_min=1, pool_max=1)):
            raise Mine


async def test_what_was_stored_is_found_by_the_next_to_open(database_url: str) -> None:
    """Closing the storage loses nothing."""
    config = StorageSettings(database=DatabaseUrl(database_url), pool_min=1, pool_max=1)
    async with open_storage(config) as stores:
        await settle(stores, alice)
    async with open_storage(config) as stores:
        assert await stores.accounts.find(alice.account) is not None
