"""The members of a group: who is added, gets another role, is removed or leaves."""

from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct
from quart import Blueprint

from api.http.replies import Answer, created
from api.operation import signed_in_with_body, signed_in_with_query
from api.resources.talk.conversations import show
from api.services import Services
from domain.budgets import Budget
from domain.people.model import Actor
from varde_contract.ids import ConversationId, ProfileId
from varde_contract.refusals import RefusalCode
from varde_contract.rest.talk import ConversationView, MemberRole, NewMember

blueprint = Blueprint("members", __name__, url_prefix="/v1/conversations/<uuid:conversation>/members")

_REFUSES = (
    RefusalCode.NO_DEVICE,
    RefusalCode.NOT_FOUND,
    RefusalCode.WRONG_KIND,
    RefusalCode.PROFILE_NOT_ALLOWED,
    RefusalCode.NOT_ALLOWED,
    RefusalCode.OVERLOADED,
)


class ActingAs(Struct, frozen=True, forbid_unknown_fields=True):
    """As which member of the group the request is made."""

    as_profile: Annotated[
        ProfileId | None,
        Meta(description="As which member. Needed only when the device receives for several, and none of them leaves."),
    ] = None


@blueprint.post("")
@signed_in_with_body(
    NewMember,
    spends=(Budget.INVITATIONS, Budget.ROSTER_MOVES),
    answers={201: ConversationView},
    refuses=(*_REFUSES, RefusalCode.ALREADY_MEMBER, RefusalCode.TOO_MANY),
)
async def add_member(services: Services, actor: Actor, new: NewMember, conversation: UUID) -> Answer:
    """Add a member to a group.

    Owners add with any role, admins add members. Who is added gets what is sent from then on.
    """
    group = ConversationId(conversation)
    refused = await services.members.add(actor, group, new.profile, new.role, as_profile=new.as_profile)
    return refused or _made(await show(services, actor, group))


@blueprint.put("/<uuid:profile>")
@signed_in_with_body(MemberRole, answers={200: ConversationView}, refuses=(*_REFUSES, RefusalCode.LAST_OWNER))
async def set_member_role(
    services: Services, actor: Actor, wanted: MemberRole, conversation: UUID, profile: UUID
) -> Answer:
    """Give a member of a group another role.

    Only owners do, and one of them stays.
    """
    group = ConversationId(conversation)
    refused = await services.members.set_role(
        actor, group, ProfileId(profile), wanted.role, as_profile=wanted.as_profile
    )
    return refused or await show(services, actor, group)


@blueprint.delete("/<uuid:profile>")
@signed_in_with_query(ActingAs, answers={204: None}, refuses=(*_REFUSES, RefusalCode.LAST_OWNER))
async def remove_member(
    services: Services, actor: Actor, acting: ActingAs, conversation: UUID, profile: UUID
) -> Answer:
    """Remove a member of a group, or leave it.

    Everybody may leave, but the last owner only when alone. Owners remove anybody, admins remove members.
    """
    return await services.members.remove(
        actor, ConversationId(conversation), ProfileId(profile), as_profile=acting.as_profile
    )


def _made(answer: Answer) -> Answer:
    return created(answer) if isinstance(answer, Struct) else answer
