"""The transparency log: static to the outside, so that a cache may stand in front; only the look-up asks who asks."""

from typing import Annotated, Final
from uuid import UUID

from msgspec import Meta, Struct
from quart import Blueprint

from api.http.replies import Answer, Content
from api.operation import public, signed_in_with_query
from api.services import Services
from domain.people.model import Actor
from domain.transparency.log import Proven
from varde_contract.errors import PeerFault
from varde_contract.ids import AccountId
from varde_contract.refusals import RefusalCode, Refused
from varde_contract.rest.transparency import ConsistencyProof, LoggedList, LogLookup
from varde_contract.transparency.tiles import Tile, read_index_path

blueprint = Blueprint("log", __name__, url_prefix="/v1/log")

TEXT: Final = "text/plain; charset=utf-8"
OCTETS: Final = "application/octet-stream"
NEWEST: Final = "public, max-age=1"
"""A checkpoint may be signed each second."""
FOR_EVER: Final = "public, max-age=31536000, immutable"
"""A tile of one width never changes, and a wider one has another path."""
LEVELS: Final = 64
"""tlog-tiles: levels go from 0 to 63."""
_NOTHING: Final = Refused(RefusalCode.NOT_FOUND, "The log has nothing like that in its newest checkpoint.")
_NOT_SIGNED: Final = Refused(RefusalCode.NOT_FOUND, "No checkpoint has been signed yet. Is a worker running?")


class FromQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """From which list on."""

    number: Annotated[int, Meta(ge=1, le=2**63 - 1, description="The first list number that is of interest.")] = 1


@blueprint.get("/key")
@public(answers={200: None}, refuses=(RefusalCode.NOT_FOUND,))
async def show_log_key(services: Services) -> Answer:
    """Show the verifier keys of the log (vkeys of C2SP), one on a line. A client pins them: they never change."""
    head = await services.log.head()
    return _NOT_SIGNED if head is None else Content(f"{head.vkeys}\n".encode(), TEXT, NEWEST)


@blueprint.get("/checkpoint")
@public(answers={200: None}, refuses=(RefusalCode.NOT_FOUND,))
async def show_checkpoint(services: Services) -> Answer:
    """Show the newest checkpoint as a signed note (C2SP tlog-checkpoint)."""
    head = await services.log.head()
    return _NOT_SIGNED if head is None else Content(head.note, TEXT, NEWEST)


@blueprint.get("/checkpoint/cosigned")
@public(answers={200: None}, refuses=(RefusalCode.NOT_FOUND,))
async def show_cosigned_checkpoint(services: Services) -> Answer:
    """Show the newest checkpoint that enough witnesses have cosigned. It is behind the newest by a minute or so."""
    head = await services.log.head(cosigned=True)
    return _NOTHING if head is None else Content(head.note, TEXT, NEWEST)


@blueprint.get("/tile/<int:level>/<path:index>")
@public(answers={200: None}, refuses=(RefusalCode.NOT_FOUND,))
async def show_tile(services: Services, level: int, index: str) -> Answer:
    """Show a tile of hashes (C2SP tlog-tiles). A client asks for those of a checkpoint that it has verified."""
    try:
        place, width = read_index_path(index)
    except PeerFault:
        return _NOTHING
    found = await services.log.tile(Tile(level, place), width) if level < LEVELS else None
    return _NOTHING if found is None else Content(found, OCTETS, FOR_EVER)


@blueprint.get("/tile/entries/<path:index>")
@public(answers={200: None}, refuses=(RefusalCode.NOT_FOUND,))
async def show_entries(services: Services, index: str) -> Answer:
    """Show a bundle of entries (C2SP tlog-tiles), each of 56 bytes: account, list number, digest of the list."""
    try:
        place, width = read_index_path(index)
    except PeerFault:
        return _NOTHING
    found = await services.log.bundle(place, width)
    return _NOTHING if found is None else Content(found, OCTETS, FOR_EVER)


@blueprint.get("/consistency/<int:old>/<int:size>")
@public(answers={200: ConsistencyProof}, refuses=(RefusalCode.NOT_FOUND,))
async def prove_consistency(services: Services, old: int, size: int) -> Answer:
    """Prove that the log of one size is the beginning of the log of another."""
    proof = await services.log.consistency(old, size)
    return _NOTHING if proof is None else ConsistencyProof(proof)


@blueprint.get("/lookup/<uuid:account>")
@signed_in_with_query(FromQuery, answers={200: LogLookup}, refuses=(RefusalCode.NOT_FOUND,))
async def look_up(services: Services, actor: Actor, query: FromQuery, account: UUID) -> Answer:  # noqa: ARG001 - who asks is only counted
    """Look up the device lists of an account, each with its proof. An account without any has no entries.

    A list is here within seconds of its change. What a list says is not in the log.
    """
    found = await services.log.lookup(AccountId(account), query.number)
    if found is None:
        return _NOT_SIGNED
    head, proven = found
    return LogLookup(head.note.decode(), tuple(map(_logged, proven)))


def _logged(proven: Proven) -> LoggedList:
    entry = proven.logged.entry
    return LoggedList(entry.number, entry.digest, proven.logged.index, proven.hashes)
