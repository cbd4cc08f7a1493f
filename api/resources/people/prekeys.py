"""The prekeys of the session's device, and claims of others'."""

from collections.abc import Sequence

from quart import Blueprint

from api.http.replies import Answer
from api.operation import signed_in, signed_in_with_body
from api.services import Services
from domain.people.model import Actor, ClaimedPrekey, Prekey
from domain.people.prekeys import KeyCount
from varde_contract.refusals import RefusalCode, Refused
from varde_contract.rest.people import ClaimedKey, ClaimedKeys, PrekeyClaim, PrekeyCount, PrekeyUpload, SignedKey

blueprint = Blueprint("prekeys", __name__, url_prefix="/v1/prekeys")


@blueprint.get("")
@signed_in(answers={200: PrekeyCount}, refuses=(RefusalCode.NO_DEVICE,))
async def count_prekeys(services: Services, actor: Actor) -> Answer:
    """Count the prekeys that the server still has of this session's device."""
    return _count(await services.prekeys.count(actor))


@blueprint.post("")
@signed_in_with_body(
    PrekeyUpload,
    answers={200: PrekeyCount},
    refuses=(RefusalCode.NO_DEVICE, RefusalCode.BAD_KEY, RefusalCode.BAD_SIGNATURE, RefusalCode.TOO_MANY),
)
async def upload_prekeys(services: Services, actor: Actor, upload: PrekeyUpload) -> Answer:
    """Add one-time keys of this session's device and, when given, replace its fallback key.

    All or nothing. A key that is there already is left as it is, so the same request may be sent again.
    """
    fallback = _prekey(upload.fallback_key) if upload.fallback_key else None
    return _count(await services.prekeys.upload(actor, [_prekey(key) for key in upload.one_time_keys], fallback))


@blueprint.post("/claim")
@signed_in_with_body(
    PrekeyClaim,
    answers={200: ClaimedKeys},
    refuses=(
        RefusalCode.NO_DEVICE,
        RefusalCode.NOT_FOUND,
        RefusalCode.NOT_ALLOWED,
        RefusalCode.STALE_DEVICES,
        RefusalCode.CLAIM_LIMIT,
    ),
)
async def claim_prekeys(services: Services, actor: Actor, claim: PrekeyClaim) -> Answer:
    """Claim one key of each of these devices of a conversation's roster.

    One-time keys go first in, first out; where none is left, the fallback key is handed out again and again.
    """
    claimed = await services.prekeys.claim(actor, claim.conversation, claim.devices)
    if isinstance(claimed, Refused):
        return claimed
    return ClaimedKeys(keys=_keys(claimed.keys), without=tuple(claimed.without))


def _prekey(key: SignedKey) -> Prekey:
    return Prekey(key.key, key.kem_key, key.signature)


def _signed_key(prekey: Prekey) -> SignedKey:
    return SignedKey(prekey.key, prekey.kem_key, prekey.signature)


def _count(count: KeyCount | Refused) -> Answer:
    return count if isinstance(count, Refused) else PrekeyCount(count.one_time, count.has_fallback)


def _keys(keys: Sequence[ClaimedPrekey]) -> tuple[ClaimedKey, ...]:
    return tuple(ClaimedKey(claimed.device, _signed_key(claimed.prekey), claimed.fallback) for claimed in keys)
