"""Profiles, the modes of an account: each with its theme and its policies.

What is replaced here is announced, because relays keep the policies of members with the rosters.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from domain.people.events import ProfileChanged
from domain.people.model import Actor, Profile
from domain.people.ports import ProfileStore
from domain.ports import Bus, Clock, Entropy
from varde_contract.ids import ENTROPY_BYTES, AccountId, ProfileId, uuid7
from varde_contract.limits import PROFILES_PER_ACCOUNT
from varde_contract.people import Policies, ProfileType, Theme
from varde_contract.refusals import RefusalCode, Refused

_TOO_MANY: Final = Refused(RefusalCode.TOO_MANY, f"An account has at most {PROFILES_PER_ACCOUNT} profiles.")
NO_PROFILE: Final = Refused(RefusalCode.NOT_FOUND, "The profile does not exist or cannot be written to yet.")
_UNKNOWN: Final = Refused(RefusalCode.NOT_FOUND, "The account has no such profile.")


@dataclass(frozen=True, slots=True)
class Opening:
    """Whose a profile is, and the salt that shows it in the account's device lists."""

    profile: ProfileId
    account: AccountId
    salt: bytes
    list_number: int


class Profiles:
    """The profiles of all accounts, each seen by its owner."""

    def __init__(self, store: ProfileStore, bus: Bus, *, clock: Clock, entropy: Entropy) -> None:
        self._store = store
        self._bus = bus
        self._clock = clock
        self._entropy = entropy

    async def create(
        self, actor: Actor, kind: ProfileType, theme: Theme, policies: Policies, salt: bytes
    ) -> Profile | Refused:
        """Make a profile; its id is the address others write to. Refuses `too-many`."""
        now = self._clock()
        fresh = ProfileId(uuid7(now, self._entropy(ENTROPY_BYTES)))
        profile = Profile(actor.account, fresh, kind, theme, policies, now, salt)
        return profile if await self._store.add(profile, PROFILES_PER_ACCOUNT) else _TOO_MANY

    async def list_all(self, actor: Actor) -> Sequence[Profile]:
        """Return the account's profiles, oldest first."""
        return await self._store.list_all(actor.account)

    async def find(self, actor: Actor, profile: ProfileId) -> Profile | Refused:
        """Return one of the account's profiles. Refuses `not-found`, also for those of others."""
        return await self._store.find(actor.account, profile) or _UNKNOWN

    async def opening(self, profile: ProfileId) -> Opening | Refused:
        """Return what opens a profile's commitment, for who may write to it: today, whoever knows its id.

        Refuses `not-found`, also before the account has a device list: nobody could check its devices.
        """
        owner = (await self._store.owners([profile])).get(profile)
        found = None if owner is None else await self._store.find(owner.id, profile)
        if owner is None or found is None or owner.list_number == 0:
            return NO_PROFILE
        return Opening(profile, owner.id, found.salt, owner.list_number)

    async def replace(self, actor: Actor, profile: ProfileId, theme: Theme, policies: Policies) -> Profile | Refused:
        """Replace theme and policies. Refuses `not-found`, also for those of others."""
        replaced = await self._store.replace(actor.account, profile, theme, policies)
        if replaced is None:
            return _UNKNOWN
        # After it is stored: a relay that reads the roster because of this must find the new policies.
        await self._bus.publish([ProfileChanged(profile)])
        return replaced
