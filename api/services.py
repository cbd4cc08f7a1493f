"""The services of the domain that requests reach, in one frozen bag, made of stores, keys and a clock."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import trio

from api.metrics.counters import ApiMetrics, CountedMail
from domain.budgets import Allowance, Budgets, TokenBuckets
from domain.people.accounts import Accounts
from domain.people.device_lists import DeviceLists
from domain.people.devices import Devices
from domain.people.ports import Mail
from domain.people.prekeys import Prekeys
from domain.people.profiles import Profiles
from domain.people.sessions import Sessions
from domain.people.sign_in import SignIn
from domain.people.tickets import TicketIssuer
from domain.people.user_names import UserNames
from domain.ports import Clock, Entropy, Stores, StoreUnavailable
from domain.talk.cards import Cards
from domain.talk.chains import Chains
from domain.talk.consent import Consent
from domain.talk.conversations import Conversations
from domain.talk.links import Links
from domain.talk.lost_statements import LostStatements
from domain.talk.sending import Messages
from domain.transparency.log import Log
from settings.api import ApiSettings
from varde_contract.rest.people import RelayAddress
from varde_contract.rest.problems import Readiness

SECONDS: Final = 1.0
PROBE: Final = 3 * SECONDS
TOO_MANY_SIGN_INS: Final = "Too many sign-ins from this network address. Wait a moment."
LOOK_UPS: Final = Allowance(120, 1, "Too many names and links are looked up from this network address. Wait a moment.")
"""Of a network. An office behind one address meets on one day."""
NODE: Final = "api"
"""Stands for the node that published an event. No relay has this name, so each takes the API's commits as another's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """The server's own keys that the API needs: raw bytes, 32 each."""

    relay_public: bytes
    relay_kem_public: bytes
    ticket_private: bytes = field(repr=False)
    pepper: bytes = field(repr=False)
    other_peppers: Sequence[bytes] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What requests reach."""

    config: ApiSettings
    metrics: ApiMetrics
    clock: Clock
    sign_in_limit: TokenBuckets[str]
    """By the network of an address."""
    look_up_limit: TokenBuckets[str]
    """The same, for who looks up user names and links."""
    budgets: Budgets
    sign_in: SignIn
    sessions: Sessions
    accounts: Accounts
    profiles: Profiles
    user_names: UserNames
    devices: Devices
    device_lists: DeviceLists
    prekeys: Prekeys
    conversations: Conversations
    chains: Chains
    lost_statements: LostStatements
    consent: Consent
    cards: Cards
    links: Links
    messages: Messages
    tickets: TicketIssuer
    relay: RelayAddress
    log: Log
    probe: Callable[[], Awaitable[Readiness]]


def make_services(
    config: ApiSettings, stores: Stores, mail: Mail, keys: Keys, budgets: Budgets, *, clock: Clock, entropy: Entropy
) -> Services:
    """Put the domain together."""
    sessions = Sessions(stores.sessions, stores.devices, stores.bus, clock=clock, entropy=entropy)
    s, bus, metrics = stores, stores.bus, ApiMetrics()
    counted_mail = CountedMail(mail, metrics)
    consent = Consent(s.consent, bus, budgets, clock=clock)
    return Services(
        config=config,
        metrics=metrics,
        clock=clock,
        sign_in_limit=TokenBuckets(Allowance(config.sign_in_burst, 1, TOO_MANY_SIGN_INS), clock=budgets.clock),
        look_up_limit=TokenBuckets(LOOK_UPS, clock=budgets.clock),
        budgets=budgets,
        sign_in=SignIn(
            *(s.sign_in, counted_mail, sessions),
            pepper=keys.pepper,
            other_peppers=keys.other_peppers,
            clock=clock,
            entropy=entropy,
        ),
        sessions=sessions,
        accounts=Accounts(s.accounts),
        profiles=Profiles(s.profiles, bus, clock=clock, entropy=entropy),
        user_names=UserNames(
            s.user_names, s.profiles, consent.may_ask, pepper=keys.pepper, other_peppers=keys.other_peppers, clock=clock
        ),
        devices=Devices(s.devices),
        device_lists=DeviceLists(s.accounts, s.devices, s.profiles, bus, clock=clock),
        prekeys=Prekeys(s.prekeys, s.devices, s.conversations, s.consent, bus, budgets, clock=clock),
        conversations=Conversations(s.conversations, s.devices),
        chains=Chains(s.conversations, s.profiles, s.devices, consent, bus, node=NODE, clock=clock, entropy=entropy),
        lost_statements=LostStatements(
            *(s.conversations, s.profiles, s.devices, s.epochs, bus), node=NODE, clock=clock, entropy=entropy
        ),
        consent=consent,
        cards=Cards(s.cards, s.profiles, s.consent, s.conversations, budgets, clock=clock),
        links=Links(s.links, s.profiles, clock=clock),
        messages=Messages(
            *(s.conversations, s.journal, s.epochs, bus, budgets), node=NODE, clock=clock, entropy=entropy
        ),
        tickets=TicketIssuer(keys.ticket_private, entropy=entropy),
        relay=RelayAddress(config.relay_url, keys.relay_public, keys.relay_kem_public),
        log=Log(s.transparency, s.stale_log),
        probe=lambda: _probe(stores),
    )


async def _probe(stores: Stores) -> Readiness:
    database = schema = False
    with trio.move_on_after(PROBE), suppress(StoreUnavailable):
        schema = await stores.schema.fits()
        database = True
    return Readiness(ready=database and schema, database=database, schema=schema, bus=stores.bus.connected)
