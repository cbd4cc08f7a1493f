"""This device's prekeys at the server: one-time keys topped up as they are used, the fallback key renewed weekly."""

from collections.abc import Callable

import trio

from varde.backoff import Backoff
from varde.clock import now_ms
from varde.crypto.outer import kem_id_of
from varde.crypto.pairwise import keep_account, load_account
from varde.errors import Busy, Refusal, Unreachable
from varde.rest import Rest
from varde.store import Store
from varde_contract.ids import DeviceId
from varde_contract.kem import KemKeyPair
from varde_contract.rest.people import PrekeyUpload, SignedKey
from varde_contract.signed_statements import fallback_key_statement, one_time_key_statement

ONE_TIME_KEYS = 50
REFILL_BELOW = 25
FALLBACK_AGE_MS = 7 * 24 * 60 * 60 * 1_000
"""The one before still opens sessions, so a fallback key that is stolen opens first messages of two weeks at most."""
CHECK_SECONDS = 24 * 60 * 60.0
"""How often the server is asked without a hint from the relay: the fallback key grows old in silence."""

_FALLBACK_MADE = "fallback-made-ms"


class PrekeyUploads:
    """Keeps enough prekeys at the server for as long as the client lives."""

    def __init__(self, store: Store, rest: Rest, device: DeviceId) -> None:
        self._store = store
        self._rest = rest
        self._device = device
        self._wake = trio.Event()

    def wake(self) -> None:
        """Check now: the relay says that few one-time keys are left."""
        self._wake.set()

    async def run(self) -> None:
        """Check at the start, at every `wake`, and once a day."""
        backoff = Backoff()
        while True:
            # A new one before the look: what is said during it wakes the next round.
            self._wake = trio.Event()
            try:
                await fill_prekeys(self._store, self._rest, self._device)
                backoff.reset()
            except (Unreachable, Busy):
                await trio.sleep(backoff.next())
                continue
            except Refusal:
                pass  # a session that is over ends the client when its connection needs another ticket
            with trio.move_on_after(CHECK_SECONDS):
                await self._wake.wait()


async def fill_prekeys(store: Store, rest: Rest, device: DeviceId) -> None:
    """Upload one-time keys when few are left, and a fallback key when there is none or it is old.

    Keys are stored before they are uploaded. When an upload fails, only the server lacks them; whether it really
    failed cannot be known, so the same keys are never uploaded again.
    """
    count = await rest.prekeys()
    wanted = ONE_TIME_KEYS - count.one_time_keys if count.one_time_keys < REFILL_BELOW else 0
    made_ms = store.settings.find(_FALLBACK_MADE, int)
    # An age below zero means that the clock went back: renew rather than trust it.
    old = made_ms is None or not 0 <= now_ms() - made_ms < FALLBACK_AGE_MS
    if wanted or old or not count.has_fallback:
        # A fallback key that the server has lost is replaced, not sent again: somebody may have claimed it.
        upload = make_prekeys(store, device, wanted, fallback=old or not count.has_fallback)
        await rest.upload_prekeys(upload)


def make_prekeys(store: Store, device: DeviceId, one_time: int, *, fallback: bool) -> PrekeyUpload:
    """Make and store prekeys, and return their public halves, signed."""
    with store.transaction():
        account = load_account(store)

        def sign(statement: Callable[[DeviceId, bytes, bytes], bytes], key: bytes, *, fallback: bool) -> SignedKey:
            kem = KemKeyPair.generate()
            kem_key = kem.public
            store.kem_prekeys.add(kem_id_of(kem_key), kem.private_bytes(), fallback=fallback)
            return SignedKey(key, kem_key, account.sign(statement(device, key, kem_key)))

        fresh = account.new_one_time_keys(one_time) if one_time else ()
        keys = tuple(sign(one_time_key_statement, key, fallback=False) for key in fresh)
        last = None
        if fallback:
            last = sign(fallback_key_statement, account.new_fallback_key(), fallback=True)
            store.settings.put(_FALLBACK_MADE, now_ms())
        keep_account(store, account)
    return PrekeyUpload(keys, last)
