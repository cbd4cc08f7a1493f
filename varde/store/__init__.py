"""The local store: everything a device must not forget, sealed."""

from varde.store.store import Store, open_store
from varde.store.unlock import KeyFile, Passphrase, Unlock

__all__ = ["KeyFile", "Passphrase", "Store", "Unlock", "open_store"]
