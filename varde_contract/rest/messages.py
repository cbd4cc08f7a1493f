"""Sending without a socket."""

from typing import Annotated

from msgspec import Meta, Struct

from varde_contract.frames import Sealed, Seq, Version
from varde_contract.ids import ClientId, ConversationId, DeviceId, MessageId, ProfileId
from varde_contract.limits import DEVICES_PER_SEND
from varde_contract.rest.fields import Instant


class NewMessage(Struct, frozen=True, forbid_unknown_fields=True):
    """The same send as `msg:send`, for clients without a socket and for what does not fit a Noise message."""

    client_id: ClientId
    conversation: ConversationId
    profile: ProfileId
    roster_version: Version
    group: Sealed | None = None
    devices: (
        Annotated[
            dict[DeviceId, Sealed],
            Meta(max_length=DEVICES_PER_SEND, extra_json_schema={"propertyNames": {"format": "uuid"}}),
        ]
        | None
    ) = None


class MessageStored(Struct, frozen=True):
    """The same ack as on the relay: the message is committed."""

    client_id: ClientId
    conversation: ConversationId
    message: MessageId
    seq: Seq
    sent_at: Instant
