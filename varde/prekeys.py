"""This device's prekeys at the server: filled up while they last, the fallback key renewed every week."""

from varde.clock import now_ms
from varde.crypto.pairwise import Pairwise
from varde.rest import Rest
from varde.store import Store
from varde_contract.certificates import fallback_key_statement, one_time_key_statement
from varde_contract.ids import DeviceId
from varde_contract.rest.devices import PrekeyUpload, SignedKey

ONE_TIME_KEYS = 50
REFILL_BELOW = 25
FALLBACK_AGE_MS = 7 * 24 * 60 * 60 * 1_000

_FALLBACK_MADE = "fallback-made-ms"


async def fill_prekeys(store: Store, rest: Rest, device: DeviceId) -> None:
    """Upload one-time keys when few are left, and a fallback key when there is none or it is old.

    Keys are kept before they are uploaded; when the upload fails, they are forgotten by the server alone.
    """
    count = await rest.prekeys()
    wanted = ONE_TIME_KEYS - count.one_time_keys if count.one_time_keys < REFILL_BELOW else 0
    made_ms = store.settings.find(_FALLBACK_MADE, int)
    old = made_ms is None or not 0 <= now_ms() - made_ms < FALLBACK_AGE_MS
    if wanted or old or not count.has_fallback:
        upload = make_prekeys(store, device, wanted, fallback=old or not count.has_fallback)
        await rest.upload_prekeys(upload)


def make_prekeys(store: Store, device: DeviceId, one_time: int, *, fallback: bool) -> PrekeyUpload:
    """Make and keep prekeys, and return their public halves, signed."""
    pairwise = Pairwise(store)
    with store.transaction():
        account = pairwise.account()
        keys = tuple(
            SignedKey(key, account.sign(one_time_key_statement(device, key)))
            for key in (account.new_one_time_keys(one_time) if one_time else ())
        )
        last = None
        if fallback:
            key = account.new_fallback_key()
            last = SignedKey(key, account.sign(fallback_key_statement(device, key)))
            store.settings.put(_FALLBACK_MADE, now_ms())
        pairwise.keep_account(account)
    return PrekeyUpload(keys, last)
