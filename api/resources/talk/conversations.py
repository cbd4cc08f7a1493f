"""Conversations as the session's device sees them."""

from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct
from quart import Blueprint

from api.http.replies import Answer, created, instant
from api.operation import signed_in, signed_in_with_body, signed_in_with_query
from api.services import Services
from domain.budgets import Budget
from domain.people.model import Actor
from domain.talk.model import RosterView, Summary
from varde_contract.ids import ConversationId
from varde_contract.refusals import RefusalCode, Refused
from varde_contract.rest.talk import (
    ChainHead,
    Conversations,
    ConversationSummary,
    ConversationView,
    ListHead,
    MemberView,
    NewStatements,
    RosterDevice,
)

blueprint = Blueprint("conversations", __name__, url_prefix="/v1/conversations")


JUDGED = (
    RefusalCode.NO_DEVICE,
    RefusalCode.NOT_FOUND,
    RefusalCode.PROFILE_NOT_ALLOWED,
    RefusalCode.NOT_ALLOWED,
    RefusalCode.BAD_SIGNATURE,
    RefusalCode.WRONG_KIND,
    RefusalCode.ALREADY_MEMBER,
    RefusalCode.TOO_MANY,
    RefusalCode.STALE_CHAIN,
)
"""What a statement is refused with, whichever it is."""


class PageQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Which page of conversations."""

    after: Annotated[ConversationId | None, Meta(description="The `next` of the page before.")] = None
    limit: Annotated[int, Meta(ge=1, le=500, description="How many at most.")] = 100


@blueprint.get("")
@signed_in_with_query(PageQuery, answers={200: Conversations}, refuses=(RefusalCode.NO_DEVICE,))
async def list_conversations(services: Services, actor: Actor, page: PageQuery) -> Answer:
    """List the conversations that this session's device receives for, in the order of their ids."""
    found = await services.conversations.list_for(actor, page.after, page.limit)
    if isinstance(found, Refused):
        return found
    return Conversations(tuple(map(_summary, found.summaries)), next=found.following)


@blueprint.post("")
@signed_in_with_body(
    NewStatements,
    spends=(Budget.INVITATIONS,),
    answers={201: ConversationView, 200: ConversationView},
    refuses=(*JUDGED, RefusalCode.MALFORMED),
)
async def open_conversation(services: Services, actor: Actor, new: NewStatements) -> Answer:
    """Open a dm, a group, or a conversation with oneself: with its creation, then its invitations.

    The same dm or self again is answered with 200 and the one that is there, which has another id.
    """
    opened = await services.chains.open(actor, new.statements)
    if isinstance(opened, Refused):
        return opened
    view = await services.conversations.view(actor, opened.conversation)
    return view if isinstance(view, Refused) else created(roster_view(view), fresh=opened.made)


@blueprint.get("/<uuid:conversation>")
@signed_in(answers={200: ConversationView}, refuses=(RefusalCode.NO_DEVICE, RefusalCode.NOT_FOUND))
async def show_conversation(services: Services, actor: Actor, conversation: UUID) -> Answer:
    """Show a conversation with its roster: what a sender encrypts for.

    Believe no member that the statements up to the head of the chain do not name, and encrypt only for devices that
    the accounts' own device lists prove.
    """
    view = await services.conversations.view(actor, ConversationId(conversation))
    return view if isinstance(view, Refused) else roster_view(view)


def roster_view(view: RosterView) -> ConversationView:
    """Return the roster as REST says it, members and devices in the order of their ids."""
    roster = view.roster
    members = sorted(roster.members.values(), key=lambda member: member.profile)
    return ConversationView(
        conversation=roster.conversation,
        kind=roster.kind,
        created_at=instant(view.created_ms),
        head=view.head,
        roster_version=roster.version,
        members=tuple(
            MemberView(member.profile, member.account, member.role, view.salts[member.profile]) for member in members
        ),
        lists=tuple(ListHead(account, head.number, head.hash) for account, head in sorted(view.lists.items())),
        devices=tuple(
            RosterDevice(device, roster.account_of(device), tuple(sorted(roster.devices[device])))
            for device in sorted(roster.devices)
        ),
        chain=None if view.chain is None else ChainHead(view.chain.number, view.chain.hash),
    )


def _summary(summary: Summary) -> ConversationSummary:
    return ConversationSummary(
        conversation=summary.conversation,
        kind=summary.kind,
        profiles=summary.profiles,
        head=summary.head,
        upto=summary.upto,
        roster_version=summary.roster_version,
    )
