"""What a connected client is made of: one frozen bag, handed to everything that lives in it."""

from dataclasses import dataclass

from varde.chains import Chains
from varde.crypto.keychain import Keychain
from varde.event_stream import EventStream
from varde.first_words import FirstContact
from varde.identity import Identity
from varde.joins import Joins
from varde.links import Links
from varde.memberships import Memberships
from varde.named_lists import NamedLists
from varde.outbox import Outbox
from varde.own_list import OwnList
from varde.rest import Rest
from varde.rosters import Rosters
from varde.search import Search
from varde.store import Store
from varde.transparency import Transparency


@dataclass(frozen=True, slots=True)
class Services:
    """The parts of one client."""

    identity: Identity
    store: Store
    keychain: Keychain
    rest: Rest
    rosters: Rosters
    own_list: OwnList
    chains: Chains
    first_contact: FirstContact
    memberships: Memberships
    named_lists: NamedLists
    events: EventStream
    outbox: Outbox
    joins: Joins
    links: Links
    transparency: Transparency
    search: Search
