"""Profiles in Postgres."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from domain.people import model as people
from storage.database import Connection
from storage.postgres.locks import lock_account
from storage.postgres.transactions import Transactions
from varde_contract.ids import AccountId, ProfileId
from varde_contract.people import Policies, ProfileType, Theme

_policies: Final = msgspec.json.Decoder(Policies)


class PostgresProfiles:
    """Keeps the promises of `domain.people.ports.ProfileStore`."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    async def add(self, profile: people.Profile, most: int) -> bool:
        """Store a new profile, unless the account has enough."""
        return await self._transactions.run(_add, profile, most)

    async def find(self, account: AccountId, profile: ProfileId) -> people.Profile | None:
        """Return the profile."""
        return await self._transactions.ask(_find, account, profile)

    async def list_all(self, account: AccountId) -> Sequence[people.Profile]:
        """Return the account's profiles, oldest first."""
        return await self._transactions.ask(_list_all, account)

    async def replace(
        self, account: AccountId, profile: ProfileId, theme: Theme, policies: Policies
    ) -> people.Profile | None:
        """Replace what can change."""
        return await self._transactions.ask(_replace, account, profile, theme, policies)

    async def owners(self, profiles: Sequence[ProfileId]) -> Mapping[ProfileId, people.Account]:
        """Return whose these profiles are."""
        return await self._transactions.ask(_owners, profiles)


def read_policies(text: str) -> Policies:
    """Read the column `policies`. What a newer program added is left out, what it left out has its default."""
    return _policies.decode(text)


def _write_policies(policies: Policies) -> str:
    return msgspec.json.encode(policies).decode()


def _profile(row: Any) -> people.Profile:
    return people.Profile(
        account=row["account_id"],
        id=row["profile_id"],
        type=ProfileType(row["type"]),
        theme=Theme(row["theme"]),
        policies=read_policies(row["policies"]),
        created_ms=row["created_ms"],
        salt=row["salt"],
    )


_COUNT: Final = "SELECT count(*) FROM profile WHERE account_id = $1"
_ADD: Final = """
    INSERT INTO profile (account_id, profile_id, type, theme, policies, created_ms, salt)
    VALUES ($1, $2, $3, $4, $5, $6, $7)
"""
_ADD_OWNER: Final = "INSERT INTO profile_account (profile_id, account_id) VALUES ($1, $2)"


async def _add(connection: Connection, profile: people.Profile, most: int) -> bool:
    await lock_account(connection, profile.account)
    if await connection.fetchval(_COUNT, profile.account) >= most:
        return False
    await connection.execute(_ADD_OWNER, profile.id, profile.account)
    await _insert(connection, profile)
    return True


_CLAIM_OWNER: Final = f"{_ADD_OWNER} ON CONFLICT DO NOTHING RETURNING true"


async def put_back(connection: Connection, profile: people.Profile) -> None:
    """Store a profile that was lost, within the caller's transaction; one that is known stays whose it is."""
    await lock_account(connection, profile.account)
    if await connection.fetchval(_CLAIM_OWNER, profile.id, profile.account):
        await _insert(connection, profile)


async def _insert(connection: Connection, profile: people.Profile) -> None:
    await connection.execute(
        _ADD,
        profile.account,
        profile.id,
        profile.type,
        profile.theme,
        _write_policies(profile.policies),
        profile.created_ms,
        profile.salt,
    )


_FIND: Final = """
    SELECT account_id, profile_id, type, theme, policies, created_ms, salt
    FROM profile WHERE account_id = $1 AND profile_id = $2
"""


async def _find(connection: Connection, account: AccountId, profile: ProfileId) -> people.Profile | None:
    row = await connection.fetchrow(_FIND, account, profile)
    return None if row is None else _profile(row)


_LIST_ALL: Final = """
    SELECT account_id, profile_id, type, theme, policies, created_ms, salt
    FROM profile WHERE account_id = $1 ORDER BY created_ms, profile_id
"""


async def _list_all(connection: Connection, account: AccountId) -> list[people.Profile]:
    return [_profile(row) for row in await connection.fetch(_LIST_ALL, account)]


_REPLACE: Final = """
    UPDATE profile SET theme = $3, policies = $4 WHERE account_id = $1 AND profile_id = $2
    RETURNING account_id, profile_id, type, theme, policies, created_ms, salt
"""


async def _replace(
    connection: Connection, account: AccountId, profile: ProfileId, theme: Theme, policies: Policies
) -> people.Profile | None:
    row = await connection.fetchrow(_REPLACE, account, profile, theme, _write_policies(policies))
    return None if row is None else _profile(row)


_OWNERS: Final = """
    SELECT profile_id, account_id, created_ms, list_number
    FROM profile_account JOIN account USING (account_id) WHERE profile_id = ANY ($1)
"""


async def _owners(connection: Connection, profiles: Sequence[ProfileId]) -> dict[ProfileId, people.Account]:
    return {profile: people.Account(*account) for profile, *account in await connection.fetch(_OWNERS, profiles)}
