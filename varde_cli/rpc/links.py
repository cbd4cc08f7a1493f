"""The methods of links, user names and contact cards: how people find each other."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from msgspec import Meta, Struct

import varde
from varde.events import ContactShared
from varde_cli.names import Names, check_name, find_conversation, find_profile, open_conversation
from varde_cli.rpc.table import Nothing, Params, method
from varde_cli.run import Failure
from varde_contract.ids import ConversationId, ProfileId
from varde_contract.limits import LINK_DAYS, LINK_USES

DAY_SECONDS = 24 * 60 * 60


class NewLink(Params):
    """A link into `group`, without one to the own profile. `expires` is in seconds from now."""

    group: str | None = None
    uses: Annotated[int, Meta(ge=1, le=LINK_USES)] = 1
    expires: Annotated[int, Meta(ge=1, le=LINK_DAYS * DAY_SECONDS)] = 7 * DAY_SECONDS
    as_profile: str | None = None


class Url(Struct, frozen=True):
    """A link to hand on: whoever has it can use it."""

    url: str


@method("invite.create")
async def _create(client: varde.Client, params: NewLink) -> Url:
    """Make a link that leads here, or into a group."""
    end = datetime.now(UTC) + timedelta(seconds=params.expires)
    if params.group is not None:
        conversation = await find_conversation(client, params.group)
        return Url((await conversation.make_link(end, uses=params.uses)).url)
    mine = Names(client).own_profile(params.as_profile)
    return Url((await client.make_link(end, uses=params.uses, as_profile=mine)).url)


@method("invite.list")
async def _list(client: varde.Client, params: Nothing) -> tuple[varde.LinkInfo, ...]:  # noqa: ARG001
    """The links that somebody can still use."""
    return tuple(await client.links())


class Code(Params):
    """The `code` of a link in `invite.list`."""

    code: str


@method("invite.revoke")
async def _revoke(client: varde.Client, params: Code) -> varde.LinkInfo:
    """Let nobody come by a link any more."""
    return await client.revoke_link(params.code)


class GivenLink(Params):
    """A link that somebody was given. `same_server`: it has another address, of the server that is used here."""

    link: str
    as_profile: str | None = None
    same_server: bool = False


class Joined(Struct, frozen=True):
    """The conversation that a link led to. `waits`: the other's client has not accepted yet."""

    conversation: ConversationId
    waits: bool


@method("invite.use")
async def _use(client: varde.Client, params: GivenLink) -> Joined:
    """Come into the group of a link, or ask its person."""
    link = client.parse_link(params.link, same_server=params.same_server)
    found = await client.use_link(link, as_profile=Names(client).own_profile(params.as_profile))
    return Joined(found.id, found.waiting)


class UserName(Params):
    """A user name, whole."""

    name: str


class Found(Struct, frozen=True):
    """Whose user name it is, by the server's word."""

    profile: ProfileId


@method("username.find")
async def _find(client: varde.Client, params: UserName) -> Found:
    """Look who has a user name."""
    return Found(await client.find_user_name(params.name))


@method("username.set")
async def _set(client: varde.Client, params: UserName) -> None:
    """Be found by a user name."""
    await client.set_user_name(params.name)


@method("username.remove")
async def _remove(client: varde.Client, params: Nothing) -> None:  # noqa: ARG001
    """Be found by none."""
    await client.remove_user_name()


class Share(Params):
    """Pass `who` on to `to`, by a name of one's own or by `name`."""

    to: str
    who: str
    name: str | None = None


@method("contacts.share")
async def _share(client: varde.Client, params: Share) -> varde.Sent:
    """Pass a contact on, and vouch for them."""
    conversation = await open_conversation(client, Names(client), params.to)
    return await conversation.share_contact(await find_profile(client, params.who), params.name)


@method("contacts.cards")
async def _cards(client: varde.Client, params: Nothing) -> tuple[ContactShared, ...]:  # noqa: ARG001
    """The contact cards that others passed on."""
    return tuple(client.shared_contacts())


class Card(Params):
    """The card that came as number `seq` of a conversation; `name` is what they are called from now on."""

    conversation: str
    seq: int
    name: str | None = None


@method("contacts.accept")
async def _accept(client: varde.Client, params: Card) -> None:
    """Keep somebody who was passed on as a contact."""
    where = (await find_conversation(client, params.conversation)).id
    for card in client.shared_contacts():
        if (card.conversation, card.seq) == (where, params.seq):
            await client.add_shared_contact(card, None if params.name is None else check_name(params.name))
            return
    raise Failure("there is no contact card of that number")
