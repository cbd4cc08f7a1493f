"""The devices of the account, and their tickets for the relay."""

import re
from typing import Final
from urllib.parse import urlsplit
from uuid import UUID

from msgspec.structs import replace
from quart import Blueprint, request

from api.http.replies import Answer, created, instant
from api.operation import public, signed_in, signed_in_with_body
from api.services import Services
from domain.people.model import Actor, Device
from varde_contract.ids import DeviceId
from varde_contract.refusals import RefusalCode, Refused
from varde_contract.rest.people import (
    DeviceProof,
    Devices,
    DeviceView,
    RelayAddress,
    RelayTicket,
)

ANY_HOST: Final = "*"
_HOST: Final = re.compile(r"[a-z0-9._:-]{1,253}")
_NO_HOST: Final = Refused(RefusalCode.MALFORMED, "The header Host names no host.")

devices = Blueprint("devices", __name__, url_prefix="/v1/devices")
relay = Blueprint("relay", __name__, url_prefix="/v1/relay")


@devices.get("")
@signed_in(answers={200: Devices})
async def list_devices(services: Services, actor: Actor) -> Answer:
    """List the account's devices that are not revoked, oldest first."""
    return Devices(tuple(_view(device, actor) for device in await services.devices.list_all(actor)))


@devices.put("/<uuid:device>/session")
@signed_in_with_body(
    DeviceProof,
    answers={200: DeviceView},
    refuses=(RefusalCode.NOT_FOUND, RefusalCode.BAD_SIGNATURE, RefusalCode.SESSION_HAS_DEVICE),
)
async def adopt_device(services: Services, actor: Actor, proof: DeviceProof, device: UUID) -> Answer:
    """Bind this session to a device of the account's list: a new one, or one whose session ended.

    The session, which has no device yet, is bound to the device from then on; the device's other sessions end. The
    signature is that of the device's signing key over the label `varde.v2 device session`, a zero byte, the session id
    and the device id (16 bytes each). The same request again, in the same session, is answered the same.
    """
    adopted = await services.devices.adopt(actor, DeviceId(device), proof.signature)
    return adopted if isinstance(adopted, Refused) else _view(adopted, actor, current=True)


@relay.get("")
@public(answers={200: RelayAddress})
async def show_relay(services: Services) -> Answer:
    """Show where the relay listens, and the Noise static key it shows."""
    return reached_by(services.relay, request.host)


@relay.post("/tickets")
@signed_in(answers={201: RelayTicket}, refuses=(RefusalCode.NO_DEVICE,))
async def issue_ticket(services: Services, actor: Actor) -> Answer:
    """Issue a relay ticket for this session's device.

    It is good for a day, and only with the device's Noise key.
    """
    # Before the reading: a whitelist that changes after it then voids the ticket.
    read_ms = services.clock()
    device = await services.devices.find_own(actor)
    if isinstance(device, Refused):
        return device
    issued = services.tickets.issue(device, read_ms=read_ms)
    return created(RelayTicket(ticket=issued.text, expires_at=instant(issued.expires_ms), route=issued.route))


def reached_by(relay: RelayAddress, host: str) -> RelayAddress | Refused:
    """Return the address with the host that a client reached this API by, where the relay's URL has the host `*`."""
    url = urlsplit(relay.url)
    if url.hostname != ANY_HOST:
        return relay
    try:
        asked = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        asked = ""
    if not _HOST.fullmatch(asked):
        return _NO_HOST
    name = f"[{asked}]" if ":" in asked else asked
    return replace(relay, url=relay.url.replace(f"//{ANY_HOST}", f"//{name}", 1))


def _view(device: Device, actor: Actor, *, current: bool = False) -> DeviceView:
    return DeviceView(
        device=device.id,
        profiles=device.profiles,
        valid_until=None if device.valid_until_ms is None else instant(device.valid_until_ms),
        created_at=instant(device.created_ms),
        current=current or device.id == actor.device,
    )
