"""How to reach the relay, and tickets for it."""

from quart import Blueprint

from api.instants import instant
from api.operation import operation
from api.replies import Answer, created
from api.world import World
from domain.people.model import Actor
from varde_contract.refusals import RefusalCode, Refused
from varde_contract.rest.relay import RelayAddress, RelayTicket

blueprint = Blueprint("relay", __name__, url_prefix="/v1/relay")


@blueprint.get("")
@operation(answers={200: RelayAddress}, open_to_all=True)
async def show_relay(world: World) -> Answer:
    """Show where the relay listens, and the Noise static key it shows."""
    return world.relay


@blueprint.post("/tickets")
@operation(answers={201: RelayTicket}, refuses=(RefusalCode.NO_DEVICE,))
async def issue_ticket(world: World, actor: Actor) -> Answer:
    """Issue a relay ticket for this session's device.

    It is good for a day, and only with the device's Noise key.
    """
    # Before the reading: a whitelist that changes after it then voids the ticket.
    read_ms = world.clock()
    device = await world.devices.find_own(actor)
    if isinstance(device, Refused):
        return device
    issued = world.tickets.issue(device, read_ms=read_ms)
    return created(RelayTicket(ticket=issued.text, expires_at=instant(issued.expires_ms)))
