"""Secrets stay out of what is printed."""

from typing import Final

import pytest
from msgspec import Struct, structs

from varde_contract import bodies, envelope, frames
from varde_contract.rest import people
from varde_contract.schema import rest_modules, structs_of
from varde_contract.secret_struct import SecretStruct

BODIES: Final = structs_of(*rest_modules())
SECRETS: Final = {"email", "code", "access_token", "refresh_token", "ticket", "text", "recovery_phrase"}
SPOKEN: Final[tuple[type[Struct], ...]] = (
    frames.Hello,
    bodies.Text,
    bodies.GroupKey,
    bodies.Invite,
    envelope.Envelope,
)


@pytest.mark.parametrize("kind", [kind for kind in (*BODIES, *SPOKEN) if SECRETS & set(kind.__struct_fields__)])
def test_what_holds_a_secret_hides_it(kind: type[Struct]) -> None:
    """A Struct with a token, code, address or plaintext shows nothing but its name."""
    assert issubclass(kind, SecretStruct) or kind.__name__ == "Problem"  # whose `code` is a word of the one list


def test_nothing_of_it_is_printed() -> None:
    """Neither by itself nor inside something else."""
    canary = "canary-of-a-secret"
    for hidden in (people.CodeRequest(canary), people.Refresh(canary), bodies.Text(canary)):
        assert canary not in repr(hidden)
        assert canary not in f"{[hidden]}"
        assert canary in structs.astuple(hidden)
    assert repr(people.CodeRequest(canary)) == "CodeRequest(...)"
    assert {people.SignIn, people.RelayTicket} <= set(BODIES)
