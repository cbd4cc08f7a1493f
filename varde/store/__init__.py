"""The local store: everything a device must not forget, encrypted in one SQLite file. No network, no policy."""

from varde.store.people import Contacts
from varde.store.store import Store, open_store
from varde.store.unlock import Argon2Cost, KeyFile, Passphrase, Unlock

__all__ = ["Argon2Cost", "Contacts", "KeyFile", "Passphrase", "Store", "Unlock", "open_store"]
