"""All stores of the domain in memory, around one `Memory`. The store contracts judge them as they judge Postgres."""

from domain.ports import Stores
from simulation.stores.bus import RecordingBus
from simulation.stores.cards import MemoryCards
from simulation.stores.consent import MemoryConsent, MemoryLinks
from simulation.stores.conversations import MemoryConversations
from simulation.stores.devices import MemoryDevices, MemoryPrekeys
from simulation.stores.epochs import MemoryEpochs
from simulation.stores.fleet import MemoryNodes, MemorySchema
from simulation.stores.interference import Interference
from simulation.stores.jobs import MemoryLeases
from simulation.stores.log import MemoryJournal, MemoryMailbox
from simulation.stores.memory import Memory
from simulation.stores.people import MemoryAccounts, MemoryProfiles, MemorySessions, MemorySignIn, MemoryUserNames
from simulation.stores.retention import MemoryRetention
from simulation.stores.spending import MemorySpending
from simulation.stores.transparency import MemoryLog


def open_memory_stores(
    *, interference: Interference | None = None, bus: RecordingBus | None = None, memory: Memory | None = None
) -> Stores:
    """Return empty stores; those of two nodes share a `memory` and a `bus`.

    Keep the interference to make them fail, and the bus to see what was published.
    """
    interference = interference or Interference()
    memory = memory or Memory()
    return Stores(
        accounts=MemoryAccounts(memory, interference),
        sign_in=MemorySignIn(memory, interference),
        sessions=MemorySessions(memory, interference),
        profiles=MemoryProfiles(memory, interference),
        user_names=MemoryUserNames(memory, interference),
        devices=MemoryDevices(memory, interference),
        prekeys=MemoryPrekeys(memory, interference),
        conversations=MemoryConversations(memory, interference),
        consent=MemoryConsent(memory, interference),
        cards=MemoryCards(memory, interference),
        links=MemoryLinks(memory, interference),
        journal=MemoryJournal(memory, interference),
        mailbox=MemoryMailbox(memory, interference),
        epochs=MemoryEpochs(memory, interference),
        retention=MemoryRetention(memory, interference),
        leases=MemoryLeases(memory, interference),
        spending=MemorySpending(memory, interference),
        nodes=MemoryNodes(memory, interference),
        schema=MemorySchema(memory, interference),
        transparency=MemoryLog(memory, interference),
        bus=bus or RecordingBus(),
    )
