"""Drafts, requests and short queries for the suites of the log."""

from itertools import count
from typing import Final

from domain.ports import Stores
from domain.talk import model as talk
from tests.cast import BIRTH_MS, CastDevice
from tests.ids import id_of
from varde_contract.ids import ClientId, ConversationId, DeviceId, MessageId

_ids: Final = count(1)


def client_id(number: int) -> ClientId:
    """The client id with this number, always the same."""
    return ClientId(id_of(number))


def draft(
    device: CastDevice,
    conversation: ConversationId,
    *to: CastDevice,
    client: int | None = None,
    version: int = 1,
    sealed: bytes = b"sealed",
    sent_ms: int = BIRTH_MS,
    part: bool = False,
) -> talk.Draft:
    """A message of the first profile of `device`: a ciphertext for each device of `to`, or for the group with none."""
    fresh = next(_ids)
    return talk.Draft(
        message=MessageId(id_of(fresh << 40)),
        conversation=conversation,
        roster_version=version,
        client_id=client_id(fresh << 32 if client is None else client),
        profile=device.model.profiles[0],
        device=device.id,
        sent_ms=sent_ms,
        group=None if to else sealed,
        devices={each.id: sealed for each in to} or None,
        part=part,
    )


async def send(stores: Stores, *drafts: talk.Draft) -> list[talk.Committed]:
    """Commit drafts that must be stored."""
    answers = await stores.journal.commit(drafts)
    stored = [answer for answer in answers if isinstance(answer, talk.Committed)]
    assert len(stored) == len(drafts)
    return stored


async def page_of(
    stores: Stores,
    device: CastDevice,
    conversation: ConversationId,
    from_seq: int = 1,
    *,
    limit: int = 1_000,
    max_bytes: int = 1_000_000,
) -> talk.LogPage:
    """The page of a device that belongs to the conversation."""
    (page,) = await stores.mailbox.read([talk.LogRequest(device.id, conversation, from_seq, limit, max_bytes)])
    assert page is not None
    return page


async def held(stores: Stores, device: CastDevice, conversation: ConversationId) -> list[int]:
    """The numbers whose ciphertext the device can have."""
    page = await page_of(stores, device, conversation)
    return [entry.seq for entry in page.entries if entry.ciphertext is not None]


async def confirm(stores: Stores, conversation: ConversationId, upto: int, *device: CastDevice) -> list[DeviceId]:
    """Confirm for several devices; return those that moved."""
    asked = [talk.Confirmation(conversation, each.id, upto) for each in device]
    return [moved.device for moved in await stores.mailbox.confirm(asked)]


async def version_of(stores: Stores, conversation: ConversationId) -> int:
    """The roster version."""
    return (await stores.conversations.rosters([conversation]))[conversation].version
