"""Membership: signed statements, appended to a conversation's chain and read by its members and who is invited."""

from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct, field
from quart import Blueprint

from api.http.replies import Answer, created
from api.operation import signed_in_with_body, signed_in_with_query
from api.resources.talk.conversations import JUDGED
from api.services import Services
from domain.budgets import Budget
from domain.people.model import Actor
from varde_contract.ids import ConversationId
from varde_contract.limits import SEQ_MAX
from varde_contract.membership_statements import Via
from varde_contract.refusals import RefusalCode, Refused
from varde_contract.rest.talk import ChainHead, LinkProof, NewStatements, Statements, StatementsStored, StatementView

blueprint = Blueprint("statements", __name__, url_prefix="/v1/conversations/<uuid:conversation>/statements")


class From(Struct, frozen=True, forbid_unknown_fields=True):
    """Where in the chain."""

    first: Annotated[
        int, Meta(ge=0, le=SEQ_MAX, description="The first number. With 0 the page begins with the last snapshot.")
    ] = field(name="from", default=0)
    holds: (
        Annotated[
            int,
            Meta(
                ge=0, le=SEQ_MAX, description="With `from` 0: begin with the last snapshot not behind this statement."
            ),
        ]
        | None
    ) = None


@blueprint.post("")
@signed_in_with_body(
    NewStatements,
    spends=(Budget.INVITATIONS, Budget.ROSTER_MOVES),
    answers={201: StatementsStored},
    refuses=(*JUDGED, RefusalCode.LAST_OWNER),
)
async def append_statements(services: Services, actor: Actor, new: NewStatements, conversation: UUID) -> Answer:
    """Invite, also by a link, accept, decline, remove, leave, give a role: append signed statements to a conversation.

    Who is invited reads so with `GET /v1/requests`, and gets nothing else before accepting. An account has at most
    eight invitations of one profile that wait for an answer (`too-many`). A profile that may not be found by this
    account is `not-found`.

    The first for each number wins. On `stale-chain` read the statements that came meanwhile and sign again. The very
    same statements again store nothing.
    """
    extended = await services.chains.extend(actor, ConversationId(conversation), new.statements)
    return extended if isinstance(extended, Refused) else created(StatementsStored(extended.seqs))


@blueprint.post("/head")
@signed_in_with_body(
    LinkProof,
    spends=(Budget.INVITATIONS,),
    answers={200: ChainHead},
    refuses=(RefusalCode.NO_DEVICE, RefusalCode.NOT_FOUND),
)
async def show_link_head(services: Services, actor: Actor, proof: LinkProof, conversation: UUID) -> Answer:
    """Show the head of a conversation's chain to who holds a link to it.

    Append an `accept` that follows it, with the same key and signature as `via`: then this device's profile is a
    member, and reads the statements. Verify them from the one on whose hash came with the link.
    """
    via = Via(proof.key, proof.signature)
    head = await services.chains.link_head(actor, ConversationId(conversation), proof.profile, via)
    return head if isinstance(head, Refused) else ChainHead(head.number, head.hash)


@blueprint.put("")
@signed_in_with_body(
    NewStatements,
    answers={200: StatementsStored},
    refuses=(*JUDGED, RefusalCode.LAST_OWNER),
)
async def put_back_statements(services: Services, actor: Actor, lost: NewStatements, conversation: UUID) -> Answer:
    """Put back statements that the server lost when its database came back from a backup.

    Signed by whomever, they follow the head of the chain, or begin a conversation that is lost. Who is in the
    conversation by them may do it, for 30 days (`not-allowed` without a loss, and later). Those that are there already
    are passed over. `stale-chain`: something else was stated since. `not-found`: also where a device list that they
    name is not there: put that back first.
    """
    stored = await services.lost_statements.put_back(actor, ConversationId(conversation), lost.statements)
    return stored if isinstance(stored, Refused) else StatementsStored(stored.seqs)


@blueprint.get("")
@signed_in_with_query(From, answers={200: Statements}, refuses=(RefusalCode.NO_DEVICE, RefusalCode.NOT_FOUND))
async def list_statements(services: Services, actor: Actor, query: From, conversation: UUID) -> Answer:
    """List the membership statements of a conversation, in order.

    Members and those that are invited may. Verify each: the server is believed in nothing.
    """
    page = await services.chains.page(actor, ConversationId(conversation), query.first, query.holds)
    if isinstance(page, Refused):
        return page
    return Statements(tuple(StatementView(each.number, each.seq, each.signed, each.state) for each in page))
