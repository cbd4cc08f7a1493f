"""Names for people and conversations: from what a person types to ids, and back.

Names are local: they are encrypted in this device's store, and the server never sees one.
"""

from contextlib import suppress
from uuid import UUID

import varde
from varde_cli.run import Failure
from varde_contract.ids import ConversationId, ProfileId

SELF = "self"
_SHORT = 6


class Names:
    """The names this device knows."""

    def __init__(self, client: varde.Client) -> None:
        self._client = client
        self._mine = {profile.id: profile.type for profile in client.identity.profiles}

    def of(self, profile: ProfileId) -> str:
        """`you`, the contact's name, or the end of the address."""
        if profile in self._mine:
            return "you"
        # A UUIDv7 begins with the time: people who signed up together differ only towards the end.
        return self._client.contacts.name_of(profile) or f"…{str(profile)[-_SHORT:]}"

    def is_mine(self, profile: ProfileId) -> bool:
        """Whether it is one of this account's profiles."""
        return profile in self._mine

    def profile(self, text: str) -> ProfileId:
        """Return whom a contact's name or an address stands for. Raises Failure."""
        known = self._client.contacts.profile_of(text)
        if known is not None:
            return known
        found = as_uuid(text)
        if found is None:
            raise Failure(f"there is no contact named '{text}'", "add one with: varde contacts add <name> <address>")
        return ProfileId(found)

    def own_profile(self, text: str | None) -> ProfileId | None:
        """Return which of the own profiles a mode (PRIVAT, JOBB) or an address names; None for None. Raises Failure."""
        if text is None:
            return None
        for profile, mode in self._mine.items():
            if text.upper() == mode or text == str(profile):
                return profile
        raise Failure(f"'{text}' is none of your profiles here", "see `varde whoami`")


def check_name(name: str) -> str:
    """Return a name that can be given to somebody. Raises Failure for what means something else where names stand."""
    if name == SELF or as_uuid(name) is not None or name.startswith("-") or not name.isprintable():
        raise Failure(f"'{name}' means something else here", "choose another name")
    return name


def as_uuid(text: str) -> UUID | None:
    """Return the id that is written there, or None."""
    try:
        return UUID(text)
    except ValueError:
        return None


async def open_conversation(
    client: varde.Client, names: Names, target: str, as_profile: str | None = None
) -> varde.Conversation:
    """Open what a person names: `self`, a conversation's id, or somebody to write to. Raises Failure."""
    mine = names.own_profile(as_profile)
    if target == SELF:
        return await client.open_self(as_profile=mine)
    # A conversation before a profile: both are ids, and only of conversations there is a list to look in.
    found = as_uuid(target)
    if found is not None and any(each.id == found for each in await client.conversations()):
        return client.conversation(ConversationId(found))
    return await client.open_dm(names.profile(target), as_profile=mine)


async def load_members(conversation: varde.Conversation, *, fresh: bool = False) -> varde.Conversation:
    """Return the conversation with its members known: as this device saw them last, or `fresh` from the server.

    Without a server the last known are good enough; raises Unreachable when there are none.
    """
    try:
        _ = conversation.members
    except varde.NotEnrolled:
        await conversation.refresh()
        return conversation
    if fresh:
        with suppress(varde.Unreachable, varde.Busy):
            await conversation.refresh()
    return conversation
