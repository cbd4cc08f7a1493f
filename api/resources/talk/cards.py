"""Sealed cards of profiles and groups: names and pictures that the server cannot open."""

from uuid import UUID

from quart import Blueprint

from api.http.replies import Answer
from api.operation import signed_in, signed_in_with_body
from api.services import Services
from domain.people.model import Actor
from domain.talk import model as talk
from varde_contract.ids import ConversationId, ProfileId
from varde_contract.refusals import RefusalCode, Refused
from varde_contract.rest.cards import SealedCard

blueprint = Blueprint("cards", __name__, url_prefix="/v1")


@blueprint.put("/profiles/<uuid:profile>/card")
@signed_in_with_body(
    SealedCard,
    answers={200: SealedCard},
    refuses=(RefusalCode.BAD_CARD, RefusalCode.NOT_FOUND, RefusalCode.STALE_CARD),
)
async def put_profile_card(services: Services, actor: Actor, card: SealedCard, profile: UUID) -> Answer:
    """Store the sealed card of one of the account's profiles.

    Its number must be larger than that of the card before (0 where there is none), by 1,000 at most.
    The same again answers the same.
    """
    sealed = talk.SealedCard(card.number, card.sealed)
    return _view(await services.cards.put_profile(actor, ProfileId(profile), sealed))


@blueprint.get("/profiles/<uuid:profile>/card")
@signed_in(answers={200: SealedCard}, refuses=(RefusalCode.NOT_FOUND,))
async def show_profile_card(services: Services, actor: Actor, profile: UUID) -> Answer:
    """Show the sealed card of a profile.

    To its owner, to who is in a conversation with it, and to who asked it or was asked by it and has no answer yet.
    """
    return _view(await services.cards.find_profile(actor, ProfileId(profile)))


@blueprint.put("/conversations/<uuid:conversation>/card")
@signed_in_with_body(
    SealedCard,
    answers={200: SealedCard},
    refuses=(
        *(RefusalCode.BAD_CARD, RefusalCode.NO_DEVICE, RefusalCode.NOT_FOUND, RefusalCode.WRONG_KIND),
        RefusalCode.STALE_CARD,
    ),
)
async def put_group_card(services: Services, actor: Actor, card: SealedCard, conversation: UUID) -> Answer:
    """Store the sealed card of a group that this session's device belongs to.

    Its number must be larger than that of the card before (0 where there is none), by 1,000 at most.
    The same again answers the same.
    """
    sealed = talk.SealedCard(card.number, card.sealed)
    return _view(await services.cards.put_group(actor, ConversationId(conversation), sealed))


@blueprint.get("/conversations/<uuid:conversation>/card")
@signed_in(answers={200: SealedCard}, refuses=(RefusalCode.NO_DEVICE, RefusalCode.NOT_FOUND))
async def show_group_card(services: Services, actor: Actor, conversation: UUID) -> Answer:
    """Show the sealed card of a group that this session's device belongs to."""
    return _view(await services.cards.find_group(actor, ConversationId(conversation)))


def _view(found: talk.SealedCard | Refused) -> Answer:
    return found if isinstance(found, Refused) else SealedCard(found.number, found.sealed)
