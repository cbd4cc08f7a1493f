"""The rules about people over memory stores, with a clock, entropy and a mailer that a test holds in its hand."""

from domain.budgets import Budgets
from domain.people.accounts import Accounts
from domain.people.device_lists import DeviceLists
from domain.people.devices import Devices
from domain.people.prekeys import Prekeys
from domain.people.profiles import Profiles
from domain.people.sessions import Sessions
from domain.people.sign_in import SignIn
from domain.people.user_names import UserNames
from domain.talk.cards import Cards
from domain.talk.chains import Chains
from domain.talk.consent import Consent
from domain.talk.conversations import Conversations
from domain.talk.links import Links
from domain.talk.lost_statements import LostStatements
from simulation.stores import open_memory_stores
from simulation.stores.bus import RecordingBus
from simulation.stores.clock import DeterministicEntropy, ManualClock
from simulation.stores.interference import Interference
from simulation.stores.mail import RecordingMail
from simulation.stores.memory import Memory
from tests.cast import Person, settle
from varde_contract.refusals import RefusalCode, Refused

PEPPER = bytes(range(32))


class Registry:
    """One server's rules. `memory` is what it stores, `bus` what it announced, `mail` what it sent."""

    def __init__(self) -> None:
        self.memory, self.bus, self.mail = Memory(), RecordingBus(), RecordingMail()
        self.clock, self.entropy, self.interference = ManualClock(), DeterministicEntropy(), Interference()
        self.stores = stores = open_memory_stores(interference=self.interference, bus=self.bus, memory=self.memory)
        clock, entropy, bus = self.clock, self.entropy, self.bus
        self.budgets = Budgets(clock=clock)
        self.sessions = Sessions(stores.sessions, stores.devices, bus, clock=clock, entropy=entropy)
        self.sign_in = SignIn(stores.sign_in, self.mail, self.sessions, pepper=PEPPER, clock=clock, entropy=entropy)
        self.accounts = Accounts(stores.accounts)
        self.profiles = Profiles(stores.profiles, bus, clock=clock, entropy=entropy)
        self.devices = Devices(stores.devices)
        self.device_lists = DeviceLists(stores.accounts, stores.devices, stores.profiles, bus, clock=clock)
        self.prekeys = Prekeys(
            stores.prekeys, stores.devices, stores.conversations, stores.consent, bus, self.budgets, clock=clock
        )
        self.conversations = Conversations(stores.conversations, stores.devices)
        self.consent = Consent(stores.consent, bus, self.budgets, clock=clock)
        self.cards = Cards(
            *(stores.cards, stores.profiles, stores.consent, stores.conversations, self.budgets), clock=clock
        )
        self.links = Links(stores.links, stores.profiles, clock=clock)
        self.user_names = UserNames(
            stores.user_names, stores.profiles, self.consent.may_ask, pepper=PEPPER, clock=clock
        )
        self.lost_statements = LostStatements(
            *(stores.conversations, stores.profiles, stores.devices, stores.epochs, bus),
            node="api",
            clock=clock,
            entropy=entropy,
        )
        self.chains = Chains(
            stores.conversations,
            stores.profiles,
            stores.devices,
            self.consent,
            bus,
            node="api",
            clock=clock,
            entropy=entropy,
        )

    async def settle(self, *people: Person) -> None:
        """Let these people of the cast be known here; all when none is named."""
        await settle(self.stores, *people)


def code_of(outcome: object) -> RefusalCode:
    """Return the word of a refusal, which `outcome` has to be."""
    assert isinstance(outcome, Refused), outcome
    return outcome.code
