"""All stores of the domain in memory, around one `Memory`. The store contracts judge them as they judge Postgres."""

from domain.ports import Stores
from tests.doubles.bus import RecordingBus
from tests.doubles.consent import MemoryConsent
from tests.doubles.conversations import MemoryConversations
from tests.doubles.devices import MemoryDevices, MemoryPrekeys
from tests.doubles.epochs import MemoryEpochs
from tests.doubles.interference import Interference
from tests.doubles.jobs import MemoryLeases
from tests.doubles.log import MemoryJournal, MemoryMailbox
from tests.doubles.memory import Memory
from tests.doubles.people import MemoryAccounts, MemoryProfiles, MemorySessions, MemorySignIn
from tests.doubles.retention import MemoryRetention
from tests.doubles.transparency import MemoryLog


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
        devices=MemoryDevices(memory, interference),
        prekeys=MemoryPrekeys(memory, interference),
        conversations=MemoryConversations(memory, interference),
        consent=MemoryConsent(memory, interference),
        journal=MemoryJournal(memory, interference),
        mailbox=MemoryMailbox(memory, interference),
        epochs=MemoryEpochs(memory, interference),
        retention=MemoryRetention(memory, interference),
        leases=MemoryLeases(memory, interference),
        transparency=MemoryLog(memory, interference),
        bus=bus or RecordingBus(),
    )
