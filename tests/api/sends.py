"""Messages as a client sends them, without the crypto: the server would not know the difference."""

from typing import Any

from tests.cast import Gear, alice, alice_phone, bob
from varde_contract.ids import ConversationId


def new_message(
    conversation: ConversationId | str, number: int = 1, *, by: Gear = alice_phone, **more: Any
) -> dict[str, Any]:
    """A `NewMessage` of Alice to Bob, one ciphertext for each device but the sending one."""
    others = [gear for gear in (*alice.devices, *bob.devices) if gear is not by]
    return {
        "client_id": f"019b76da-a800-7000-8000-{number:012x}",
        "conversation": str(conversation),
        "profile": str(alice.profile),
        "roster_version": 1,
        "devices": {str(gear.id): "c2VhbGVk" for gear in others},
    } | more
