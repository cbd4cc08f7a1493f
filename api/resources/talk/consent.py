"""What this account is asked, and whose requests it does not want to see."""

from uuid import UUID

from quart import Blueprint

from api.http.replies import Answer, instant
from api.operation import signed_in, signed_in_with_body
from api.services import Services
from domain.people.model import Actor
from domain.talk.model import Invitation
from varde_contract.ids import AccountId, ConversationId, ProfileId
from varde_contract.refusals import RefusalCode, Refused
from varde_contract.rest.talk import Blocks, BlockView, FirstWords, InvitationView, Requests, WordsView

words = Blueprint("words", __name__, url_prefix="/v1/conversations/<uuid:conversation>/words")
requests = Blueprint("requests", __name__, url_prefix="/v1/requests")
blocks = Blueprint("blocks", __name__, url_prefix="/v1/blocks")


@requests.get("")
@signed_in(answers={200: Requests}, refuses=(RefusalCode.NO_DEVICE,))
async def list_requests(services: Services, actor: Actor) -> Answer:
    """List the conversations that the profiles of this session's device are invited to.

    Left out is what blocked accounts ask. Of strangers a profile sees 32 requests: those of accounts that ask for more
    than others give way first, then the oldest.
    """
    found = await services.chains.invitations(actor)
    if isinstance(found, Refused):
        return found
    return Requests(tuple(map(_invitation_view, found)))


@words.put("/<uuid:profile>")
@signed_in_with_body(FirstWords, answers={204: None}, refuses=(RefusalCode.NO_DEVICE, RefusalCode.NOT_FOUND))
async def put_first_words(
    services: Services, actor: Actor, sent: FirstWords, conversation: UUID, profile: UUID
) -> Answer:
    """Keep what an invitation of this account says, until it is answered.

    It is shown with the request. Sent again it replaces what was said before. Prekeys of the invited one's devices are
    claimed like those of members.
    """
    return await services.consent.put_words(actor, ConversationId(conversation), ProfileId(profile), sent)


def _invitation_view(each: Invitation) -> InvitationView:
    said = each.words
    view = None if said is None else WordsView(said.client_id, said.profile, said.device, said.ciphertext)
    return InvitationView(each.conversation, each.kind, each.profile, view)


@blocks.get("")
@signed_in(answers={200: Blocks})
async def list_blocks(services: Services, actor: Actor) -> Answer:
    """List whom the account has blocked."""
    found = await services.consent.blocks(actor)
    return Blocks(tuple(BlockView(each.account, instant(each.since_ms)) for each in found))


@blocks.put("/<uuid:account>")
@signed_in(answers={204: None}, refuses=(RefusalCode.NOT_FOUND, RefusalCode.NOT_ALLOWED, RefusalCode.TOO_MANY))
async def block_account(services: Services, actor: Actor, account: UUID) -> Answer:
    """Block an account: what it asks is not shown, now or later.

    It is never told, and its requests are answered as before.
    """
    return await services.consent.block(actor, AccountId(account))


@blocks.delete("/<uuid:account>")
@signed_in(answers={204: None}, refuses=(RefusalCode.NOT_FOUND,))
async def unblock_account(services: Services, actor: Actor, account: UUID) -> Answer:
    """Block an account no longer. What it asked meanwhile is shown."""
    await services.consent.unblock(actor, AccountId(account))
    return None
