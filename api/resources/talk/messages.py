"""Sending a message over REST instead of the relay."""

from typing import Final

from quart import Blueprint

from api.http.replies import Answer, created, instant
from api.operation import signed_in_with_body
from api.services import Services
from domain.people.model import Actor
from domain.talk.sending import Sender
from varde_contract.refusals import RefusalCode, Refused
from varde_contract.rest.talk import MessageStored, NewMessage

blueprint = Blueprint("messages", __name__, url_prefix="/v1/messages")

_NO_DEVICE: Final = Refused(RefusalCode.NO_DEVICE, "This session has no device. Register one first.")


@blueprint.post("")
@signed_in_with_body(
    NewMessage,
    answers={201: MessageStored, 200: MessageStored},
    refuses=(
        RefusalCode.NO_DEVICE,
        RefusalCode.NOT_FOUND,
        RefusalCode.PROFILE_NOT_ALLOWED,
        RefusalCode.WRONG_KIND,
        RefusalCode.STALE_DEVICES,
        RefusalCode.OVERLOADED,
    ),
)
async def send_message(services: Services, actor: Actor, new: NewMessage) -> Answer:
    """Store and deliver one message: the same as `msg:send` on the relay.

    Answered when it is committed. The same client id again stores nothing, and is answered with 200 and the figures of
    the first time.
    """
    if actor.device is None:
        return _NO_DEVICE
    stored = await services.messages.send(Sender(actor.account, actor.device), new, part=new.part)
    if isinstance(stored, Refused):
        return stored
    body = MessageStored(
        client_id=new.client_id,
        conversation=new.conversation,
        message=stored.message,
        seq=stored.seq,
        sent_at=instant(stored.sent_ms),
        epoch=services.messages.epoch,
    )
    return created(body, fresh=not stored.duplicate)
