"""Everything a request may reach, as one frozen bag, and how it is put together from stores, keys and a clock.

Refuses storage: the stores come in through the domain's ports.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

import trio

from api.allowance import InvitationAllowance, SignInAllowance
from api.config import ApiConfig
from contract.ids import AccountId
from contract.rest.relay import RelayAddress
from domain.accounts import Accounts
from domain.auth import SignIn
from domain.conversations import Conversations
from domain.devices import Devices
from domain.members import Members
from domain.ports import AccountStore, Clock, Entropy, Mail, Stores, StoreUnavailable
from domain.prekeys import Prekeys
from domain.profiles import Profiles
from domain.sending import Sender
from domain.sessions import Sessions
from domain.tickets import TicketIssuer

SECONDS: Final = 1.0
PROBE: Final = 3 * SECONDS
NODE: Final = "api"
"""No relay has this name, so every relay listens to what the API committed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """The server's own keys that the API needs: raw bytes, 32 each."""

    relay_public: bytes
    ticket_private: bytes = field(repr=False)
    pepper: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What requests reach."""

    config: ApiConfig
    clock: Clock
    allowance: SignInAllowance
    invitations: InvitationAllowance
    sign_in: SignIn
    sessions: Sessions
    accounts: Accounts
    profiles: Profiles
    devices: Devices
    prekeys: Prekeys
    conversations: Conversations
    members: Members
    sender: Sender
    tickets: TicketIssuer
    relay: RelayAddress
    probe: Callable[[], Awaitable[bool]]


def make_world(config: ApiConfig, stores: Stores, mail: Mail, keys: Keys, *, clock: Clock, entropy: Entropy) -> World:
    """Put the domain together."""
    sessions = Sessions(stores.sessions, clock=clock, entropy=entropy)
    s, bus = stores, stores.bus
    return World(
        config=config,
        clock=clock,
        allowance=SignInAllowance(config.sign_in, clock=clock),
        invitations=InvitationAllowance(config.invitations, clock=clock),
        sign_in=SignIn(s.sign_in, mail, sessions, pepper=keys.pepper, clock=clock, entropy=entropy),
        sessions=sessions,
        accounts=Accounts(s.accounts),
        profiles=Profiles(s.profiles, bus, clock=clock, entropy=entropy),
        devices=Devices(s.devices, s.accounts, s.profiles, bus, clock=clock),
        prekeys=Prekeys(s.prekeys, s.devices, s.conversations, bus, clock=clock),
        conversations=Conversations(s.conversations, s.profiles, s.devices, bus, clock=clock, entropy=entropy),
        members=Members(s.conversations, s.profiles, bus),
        sender=Sender(s.conversations, s.journal, bus, node=NODE, clock=clock, entropy=entropy),
        tickets=TicketIssuer(keys.ticket_private, entropy=entropy),
        relay=RelayAddress(url=config.relay_url, static_key=keys.relay_public),
        probe=lambda: _answers(stores.accounts),
    )


async def _answers(accounts: AccountStore) -> bool:
    """Whether the database answers a question that touches one index and finds nothing."""
    with trio.move_on_after(PROBE):
        try:
            await accounts.find(AccountId(UUID(int=0)))
        except StoreUnavailable:
            return False
        return True
    return False
