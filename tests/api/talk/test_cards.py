"""Sealed cards over HTTP: what is stored is seen by others, and each refusal."""

from base64 import b64encode
from typing import Any

from tests.api.bodies import jsonable
from tests.api.memory_api import DeviceClient, MemoryApi, refusal_of
from tests.cast import alice, alice_phone, bob, bob_phone, carol_phone, open_conversation
from varde_contract.card import SEALED_BYTES
from varde_contract.refusals import RefusalCode
from varde_contract.rest.cards import SealedCard
from varde_contract.talk import ConversationKind

tablet = alice.further_device("tablet")


def body(number: int, size: int = SEALED_BYTES[0]) -> dict[str, Any]:
    """A card as a client sends it."""
    return jsonable(SealedCard(number, b"s" * size))


async def test_a_card_is_stored_and_seen(api: MemoryApi) -> None:
    """Of a profile and of a group, byte for byte, by who may see it."""
    group = await open_conversation(api.stores, alice, bob)
    for path in (f"/v1/profiles/{alice.profile}/card", f"/v1/conversations/{group}/card"):
        for number, size in enumerate(SEALED_BYTES, start=1):
            stored = await DeviceClient(api, alice_phone).put(SealedCard, path, body(number, size))
            assert stored == SealedCard(number, b"s" * size)
        assert await DeviceClient(api, bob_phone).get(SealedCard, path) == stored
        stale = await api.ask("PUT", path, by=alice_phone, json=body(1))
        assert refusal_of(stale, 409) is RefusalCode.STALE_CARD
        assert refusal_of(await api.ask("GET", path, by=carol_phone), 404) is RefusalCode.NOT_FOUND
        assert refusal_of(await api.ask("PUT", path, by=carol_phone, json=body(9)), 404) is RefusalCode.NOT_FOUND


async def test_other_sizes_are_refused(api: MemoryApi) -> None:
    """Whatever is no bucket, below and above all and between them."""
    path = f"/v1/profiles/{alice.profile}/card"
    for size, status, code in (
        (0, 400, RefusalCode.MALFORMED),
        (SEALED_BYTES[0] - 1, 422, RefusalCode.BAD_CARD),
        (SEALED_BYTES[0] + 1, 422, RefusalCode.BAD_CARD),
        (SEALED_BYTES[-1] - 1, 422, RefusalCode.BAD_CARD),
        (SEALED_BYTES[-1] + 1, 400, RefusalCode.MALFORMED),
    ):
        sent = {"number": 1, "sealed": b64encode(bytes(size)).decode()}
        assert refusal_of(await api.ask("PUT", path, by=alice_phone, json=sent), status) is code


async def test_refusals_of_group_cards(api: MemoryApi) -> None:
    """A dm has none, and a session without a device sees and changes none."""
    dm = await open_conversation(api.stores, alice, bob, kind=ConversationKind.DM)
    path = f"/v1/conversations/{dm}/card"
    assert refusal_of(await api.ask("PUT", path, by=alice_phone, json=body(1)), 409) is RefusalCode.WRONG_KIND
    await api.stores.sessions.add(tablet.session)
    for method, more in (("GET", {}), ("PUT", {"json": body(1)})):
        asked = await api.ask(method, path, by=tablet.access_token, **more)
        assert refusal_of(asked, 409) is RefusalCode.NO_DEVICE
