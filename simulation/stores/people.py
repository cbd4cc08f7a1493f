"""Accounts, sign-in, sessions and profiles, in memory."""

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from domain.people import model as people
from domain.people.ports import NameFault, UserName
from simulation.stores.interference import Interference
from simulation.stores.memory import Memory
from varde_contract.ids import AccountId, ProfileId, SessionId
from varde_contract.people import Policies, Theme


class MemoryAccounts:
    """A `domain.people.ports.AccountStore`."""

    def __init__(self, memory: Memory, interference: Interference) -> None:
        self._memory = memory
        self._interference = interference

    async def find(self, account: AccountId) -> people.Account | None:
        """As promised."""
        await self._interference.let_through()
        return self._memory.accounts.get(account)

    async def put_back(self, account: AccountId, profiles: Sequence[people.Profile]) -> None:
        """As promised."""
        await self._interference.let_through()
        self._memory.accounts.setdefault(account, people.Account(account, profiles[0].created_ms if profiles else 0, 0))
        for profile in profiles:
            self._memory.profiles.setdefault(profile.id, profile)


class MemorySignIn:
    """A `domain.people.ports.SignInStore`."""

    def __init__(self, memory: Memory, interference: Interference) -> None:
        self._memory = memory
        self._interference = interference

    async def put_code(
        self, address: bytes, code: people.OneTimeCode, *, now_ms: int, window_ms: int, most: int
    ) -> bool:
        """As promised."""
        await self._interference.let_through()
        recent = [time for time in self._memory.code_times.get(address, []) if time > now_ms - window_ms]
        if len(recent) >= most:
            return False
        self._memory.code_times[address] = [*recent, now_ms]
        self._memory.codes[address] = code
        return True

    async def take_attempt(self, address: bytes) -> people.OneTimeCode | None:
        """As promised."""
        await self._interference.let_through()
        code = self._memory.codes.get(address)
        if code is not None and code.attempts_left > 0:
            self._memory.codes[address] = replace(code, attempts_left=code.attempts_left - 1)
        return code

    async def consume_code(self, address: bytes, code_digest: bytes) -> bool:
        """As promised."""
        await self._interference.let_through()
        code = self._memory.codes.get(address)
        if code is None or code.code_digest != code_digest:
            return False
        del self._memory.codes[address]
        return True

    async def account_of(
        self, address: bytes, fresh: AccountId, now_ms: int, *, known_as: Sequence[bytes] = ()
    ) -> tuple[people.Account, bool]:
        """As promised."""
        await self._interference.let_through()
        for other in known_as:
            if other in self._memory.addresses and address not in self._memory.addresses:
                self._memory.addresses[address] = self._memory.addresses.pop(other)
        known = self._memory.addresses.get(address)
        if known is not None:
            return self._memory.accounts[known], False
        self._memory.addresses[address] = fresh
        self._memory.accounts[fresh] = people.Account(fresh, now_ms, 0)
        return self._memory.accounts[fresh], True


class MemorySessions:
    """A `domain.people.ports.SessionStore`."""

    def __init__(self, memory: Memory, interference: Interference) -> None:
        self._memory = memory
        self._interference = interference

    async def add(self, session: people.Session) -> None:
        """As promised. Like the database, insists on the account, and on a fresh id."""
        await self._interference.let_through()
        assert session.account in self._memory.accounts
        assert (session.account, session.id) not in self._memory.sessions
        self._memory.sessions[session.account, session.id] = session

    async def find(self, account: AccountId, session: SessionId) -> people.Session | None:
        """As promised."""
        await self._interference.let_through()
        return self._memory.sessions.get((account, session))

    async def rotate(self, session: people.Session, *, old_refresh_digest: bytes) -> bool:
        """As promised; the device stays as it is."""
        await self._interference.let_through()
        key = session.account, session.id
        found = self._memory.sessions.get(key)
        if found is None or found.refresh_digest != old_refresh_digest:
            return False
        self._memory.sessions[key] = replace(session, device=found.device, created_ms=found.created_ms)
        return True

    async def mark_used(self, account: AccountId, session: SessionId, access_digest: bytes) -> None:
        """As promised."""
        await self._interference.let_through()
        found = self._memory.sessions.get((account, session))
        if found is not None and found.access_digest == access_digest:
            self._memory.sessions[account, session] = replace(found, used=True)

    async def end(self, account: AccountId, session: SessionId) -> bool:
        """As promised."""
        await self._interference.let_through()
        return self._memory.sessions.pop((account, session), None) is not None

    async def list_live(self, account: AccountId, now_ms: int) -> Sequence[people.Session]:
        """As promised."""
        await self._interference.let_through()
        own = (session for session in self._memory.sessions.values() if session.account == account)
        live = [session for session in own if session.refresh_expires_ms > now_ms]
        return sorted(live, key=lambda session: (session.created_ms, session.id))


class MemoryProfiles:
    """A `domain.people.ports.ProfileStore`."""

    def __init__(self, memory: Memory, interference: Interference) -> None:
        self._memory = memory
        self._interference = interference

    async def add(self, profile: people.Profile, most: int) -> bool:
        """As promised. Like the database, insists on the account, and on a fresh id."""
        await self._interference.let_through()
        assert profile.account in self._memory.accounts
        assert profile.id not in self._memory.profiles
        if len(self._own(profile.account)) >= most:
            return False
        self._memory.profiles[profile.id] = profile
        return True

    async def find(self, account: AccountId, profile: ProfileId) -> people.Profile | None:
        """As promised."""
        await self._interference.let_through()
        found = self._memory.profiles.get(profile)
        return found if found is not None and found.account == account else None

    async def list_all(self, account: AccountId) -> Sequence[people.Profile]:
        """As promised."""
        await self._interference.let_through()
        return self._own(account)

    async def replace(
        self, account: AccountId, profile: ProfileId, theme: Theme, policies: Policies
    ) -> people.Profile | None:
        """As promised."""
        found = await self.find(account, profile)
        if found is None:
            return None
        self._memory.profiles[profile] = replace(found, theme=theme, policies=policies)
        return self._memory.profiles[profile]

    async def owners(self, profiles: Sequence[ProfileId]) -> Mapping[ProfileId, people.Account]:
        """As promised."""
        await self._interference.let_through()
        known = (self._memory.profiles[profile] for profile in profiles if profile in self._memory.profiles)
        return {profile.id: self._memory.accounts[profile.account] for profile in known}

    def _own(self, account: AccountId) -> list[people.Profile]:
        own = (profile for profile in self._memory.profiles.values() if profile.account == account)
        return sorted(own, key=lambda profile: (profile.created_ms, profile.id))


class MemoryUserNames:
    """A `domain.people.ports.UserNameStore`."""

    def __init__(self, memory: Memory, interference: Interference) -> None:
        self._memory = memory
        self._interference = interference

    async def put(
        self, name: UserName, now_ms: int, *, held_ms: int, most: int, known_as: Sequence[bytes] = ()
    ) -> NameFault | None:
        """As promised."""
        await self._interference.let_through()
        names = self._memory.user_names
        for skeleton in (name.skeleton, *known_as):
            known, freed_ms = names.get(skeleton, (None, None))
            held = freed_ms is None or freed_ms > now_ms - held_ms
            if known is not None and known.account != name.account and held:
                return NameFault.TAKEN
        rows = {
            key: row
            for key, row in names.items()
            if row[0].account != name.account or not _is_past(row, now_ms - held_ms)
        }
        rows = {key: _freed(row, name, now_ms) for key, row in rows.items()}
        rows[name.skeleton] = name, None
        if sum(known.account == name.account for known, _ in rows.values()) > most:
            return NameFault.TOO_MANY
        self._memory.user_names = rows
        return None

    async def remove(self, account: AccountId, profile: ProfileId, now_ms: int) -> None:
        """As promised."""
        await self._interference.let_through()
        gone = UserName(account, profile, b"", b"")
        names = self._memory.user_names
        self._memory.user_names = {key: _freed(row, gone, now_ms) for key, row in names.items()}

    async def find(self, skeleton: bytes) -> UserName | None:
        """As promised."""
        await self._interference.let_through()
        known, freed_ms = self._memory.user_names.get(skeleton, (None, None))
        return known if freed_ms is None else None

    async def rename(self, before: bytes, name: UserName) -> None:
        """As promised."""
        await self._interference.let_through()
        known, freed_ms = self._memory.user_names.get(before, (None, None))
        if known is not None and freed_ms is None and name.skeleton not in self._memory.user_names:
            del self._memory.user_names[before]
            self._memory.user_names[name.skeleton] = replace(known, skeleton=name.skeleton, digest=name.digest), None


_Row = tuple[UserName, int | None]


def _is_past(row: _Row, before_ms: int) -> bool:
    return row[1] is not None and row[1] <= before_ms


def _freed(row: _Row, by: UserName, now_ms: int) -> _Row:
    known, freed_ms = row
    own = (known.account, known.profile) == (by.account, by.profile)
    return (known, now_ms) if own and freed_ms is None else row
