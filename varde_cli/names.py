"""Names for people and conversations: from what a person types to ids, and back.

Nobody has to type an id. A person is named by a contact's name or by a user name with an @, everything else by the end
of its id, as tables show it.
"""

import functools
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Any, TypeVar
from uuid import UUID

import click

import varde
from varde_cli.options import Home, home_options
from varde_cli.run import Failure, run_connected
from varde_contract.ids import ProfileId
from varde_contract.talk import ConversationKind

SELF = "self"
_SHORT = 6
_LEAST = 4
"""Letters of the end of an id that may stand for it."""

T = TypeVar("T", bound=UUID)


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
        return self._client.contacts.name_of(profile) or short(profile)

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
            advice = "`varde contacts` lists them; '@' and a user name finds others, and `varde join` uses a link"
            raise Failure(f"there is no contact named '{text}'", advice)
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


def short(identity: UUID) -> str:
    """Return the end of an id, by which it can be named."""
    return f"…{str(identity)[-_SHORT:]}"


def pick(text: str, known: Iterable[T], what: str) -> T:
    """Return which id a text means: the whole of one, or so much of its end that no other ends so. Raises Failure."""
    wanted = text.strip().lower().removeprefix("…").removeprefix("...")
    matching = [each for each in dict.fromkeys(known) if str(each).endswith(wanted)] if len(wanted) >= _LEAST else []
    if len(matching) == 1:
        return matching[0]
    if matching:
        raise Failure(f"'{text}' is the end of several: {', '.join(map(str, matching))}", "give more of it")
    raise Failure(f"there is no {what} '{text}' here", f"name it by the last {_SHORT} letters that its list shows")


async def find_profile(client: varde.Client, text: str) -> ProfileId:
    """Return whom a person names: a contact, `@` and a user name, an address, or its end. Raises Failure, NotFound."""
    if text.startswith("@"):
        return await client.find_user_name(text)
    try:
        return Names(client).profile(text)
    except Failure:
        # As somebody without a name is shown. Only where nothing else fits: who is met is anybody's choice.
        here = await client.conversations()
        met = [member.profile for each in here for member in (await load_members(each)).members]
        with suppress(Failure):
            return pick(text, [each for each in met if not Names(client).is_mine(each)], "person")
        raise


async def find_conversation(client: varde.Client, text: str) -> varde.Conversation:
    """Return a conversation, or a request for one, that is there: by who it is with, or the end of its id.

    Raises Failure.
    """
    if text == SELF:
        return await client.open_self()
    here, asked = await client.conversations(), tuple[varde.Request, ...]()
    with suppress(varde.Unreachable, varde.Busy):
        asked = await client.requests()
    if not text.startswith("@") and client.contacts.profile_of(text) is None:
        known = [*(each.id for each in here), *(each.conversation for each in asked)]
        return client.conversation(pick(text, known, "conversation"))
    who = await find_profile(client, text)
    with_them = [
        *(each.id for each in here if each.kind is ConversationKind.DM and _has(each, who)),
        *(each.conversation for each in asked if each.invited_by == who),
    ]
    if len(set(with_them)) != 1:
        found = f"several with {text}" if with_them else f"no conversation of you and {text}"
        raise Failure(f"there is {found} here", "`varde conversations` and `varde requests` list all")
    return client.conversation(with_them[0])


def _has(conversation: varde.Conversation, profile: ProfileId) -> bool:
    return any(member.profile == profile for member in conversation.members)


async def open_conversation(
    client: varde.Client, names: Names, target: str, as_profile: str | None = None
) -> varde.Conversation:
    """Open what a person names: `self`, a conversation, or somebody to write to. Raises Failure."""
    mine = names.own_profile(as_profile)
    if target == SELF:
        return await client.open_self(as_profile=mine)
    if not target.startswith("@") and client.contacts.profile_of(target) is None:
        # A conversation before a profile: both are ids, and only of conversations there is a list to look in.
        with suppress(Failure):
            return client.conversation(pick(target, [each.id for each in await client.conversations()], "conversation"))
    return await client.open_dm(await find_profile(client, target), as_profile=mine)


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


def in_conversation(metavar: str = "CONVERSATION") -> Callable[[Callable[..., Awaitable[None]]], Callable[..., None]]:
    """Make an action of a conversation a command: it is given the client, the conversation, and what else is asked.

    The conversation is the command's first argument, and --home its last option.
    """

    def decorate(action: Callable[..., Awaitable[None]]) -> Callable[..., None]:
        @click.argument("target", metavar=metavar)
        @home_options()
        @functools.wraps(action)
        def command(home: Home, target: str, **given: Any) -> None:
            async def run(client: varde.Client) -> None:
                await action(client, await find_conversation(client, target), **given)

            run_connected(home, run)

        return command

    return decorate
