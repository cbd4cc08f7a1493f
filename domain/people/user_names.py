"""User names: optional, one for a profile, found by who knows the whole name and whom the profile lets find it.

What is stored are keyed digests. There is no list of names, here or anywhere.
"""

import hmac
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from domain.people.addresses import name_digest, skeleton_digest
from domain.people.model import Actor
from domain.people.ports import NameFault, ProfileStore, UserName, UserNameStore
from domain.people.profiles import NO_PROFILE
from domain.ports import Clock
from varde_contract.ids import ENTROPY_BYTES, AccountId, ProfileId, uuid7
from varde_contract.limits import USER_NAMES_PER_ACCOUNT
from varde_contract.refusals import RefusalCode, Refused
from varde_contract.user_names import UserNameFault, is_reserved, normal_user_name, skeleton

HELD: Final = 30 * 24 * 60 * 60 * 1_000
"""For so long nobody else gets a name that was given up: who knew its owner by it would ask a stranger."""
NO_NAME: Final = Refused(RefusalCode.NOT_FOUND, "Nobody can be found by this user name.")
_TAKEN: Final = Refused(RefusalCode.NAME_TAKEN, "Somebody has this user name, or one that looks like it.")
_RESERVED: Final = Refused(RefusalCode.NAME_TAKEN, "This user name is reserved. Choose another one.")
_TOO_MANY: Final = Refused(RefusalCode.TOO_MANY, "This account changed user names too often. Wait a month.")
_NOBODY: Final = ProfileId(uuid7(0, bytes(ENTROPY_BYTES)))


class UserNames:
    """The user names of all profiles."""

    def __init__(
        self,
        store: UserNameStore,
        profiles: ProfileStore,
        may_ask: Callable[[AccountId, ProfileId], Awaitable[bool]],
        *,
        pepper: bytes,
        other_peppers: Sequence[bytes] = (),
        clock: Clock,
    ) -> None:
        """`may_ask` says whether an account may ask a profile. `other_peppers` are looked under as well, while the
        pepper changes.
        """
        self._store = store
        self._profiles = profiles
        self._may_ask = may_ask
        self._pepper = pepper
        self._other_peppers = other_peppers
        self._clock = clock

    async def put(self, actor: Actor, profile: ProfileId, typed: str) -> Refused | None:
        """Give a profile a name. Refuses `not-allowed` for what is none, `name-taken`, `not-found`, `too-many`."""
        try:
            name = normal_user_name(typed)
        except UserNameFault as fault:
            return Refused(RefusalCode.NOT_ALLOWED, f"Not a user name: {fault}.")
        if is_reserved(name):
            return _RESERVED
        if await self._profiles.find(actor.account, profile) is None:
            return NO_PROFILE
        fresh = UserName(
            actor.account, profile, name_digest(self._pepper, name), skeleton_digest(self._pepper, skeleton(name))
        )
        known_as = [skeleton_digest(pepper, skeleton(name)) for pepper in self._other_peppers]
        refused = await self._store.put(
            fresh, self._clock(), held_ms=HELD, most=USER_NAMES_PER_ACCOUNT, known_as=known_as
        )
        return None if refused is None else _TOO_MANY if refused is NameFault.TOO_MANY else _TAKEN

    async def remove(self, actor: Actor, profile: ProfileId) -> None:
        """Take a profile's name from it."""
        await self._store.remove(actor.account, profile, self._clock())

    async def find(self, actor: Actor, typed: str) -> ProfileId | Refused:
        """Return whose name it is. Refuses `not-found`, also where the profile does not let the actor find it."""
        try:
            name = normal_user_name(typed)
        except UserNameFault:
            return NO_NAME
        profile = await self._owner(name)
        # Asked for nobody as well: how long it takes does not say whether there is a name that hides.
        may_ask = await self._may_ask(actor.account, profile or _NOBODY)
        return profile if profile is not None and may_ask else NO_NAME

    async def _owner(self, name: str) -> ProfileId | None:
        found = None
        for pepper in (self._pepper, *self._other_peppers):
            known = await self._store.find(skeleton_digest(pepper, skeleton(name)))
            if known is not None and hmac.compare_digest(known.digest, name_digest(pepper, name)):
                found = known
                if pepper is not self._pepper:
                    fresh = name_digest(self._pepper, name), skeleton_digest(self._pepper, skeleton(name))
                    await self._store.rename(known.skeleton, UserName(known.account, known.profile, *fresh))
        return None if found is None else found.profile
