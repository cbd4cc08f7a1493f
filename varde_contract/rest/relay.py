"""How to reach the relay."""

from msgspec import Struct

from varde_contract.hidden import Hidden
from varde_contract.rest.fields import Instant, Key


class RelayAddress(Struct, frozen=True):
    """Where the relay listens, and the Noise static key it shows."""

    url: str
    static_key: Key


class RelayTicket(Hidden, frozen=True):
    """A ticket for the session's device, bound to its Noise key."""

    ticket: str
    expires_at: Instant
