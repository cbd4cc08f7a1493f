"""The devices of the account, and their tickets for the relay."""

from uuid import UUID

from quart import Blueprint

from api.http.replies import Answer, created, instant
from api.operation import public, signed_in, signed_in_with_body
from api.services import Services
from domain.people.model import Actor, Device, Registration
from varde_contract.ids import DeviceId
from varde_contract.refusals import RefusalCode, Refused
from varde_contract.rest.people import (
    Certificate,
    DeviceProof,
    Devices,
    DeviceView,
    NewDevice,
    ProfileWhitelist,
    RelayAddress,
    RelayTicket,
)

devices = Blueprint("devices", __name__, url_prefix="/v1/devices")
relay = Blueprint("relay", __name__, url_prefix="/v1/relay")


@devices.get("")
@signed_in(answers={200: Devices})
async def list_devices(services: Services, actor: Actor) -> Answer:
    """List the account's devices that are not revoked, oldest first."""
    return Devices(tuple(_view(device, actor) for device in await services.devices.list_all(actor)))


@devices.post("")
@signed_in_with_body(
    NewDevice,
    answers={201: DeviceView, 200: DeviceView},
    refuses=(
        RefusalCode.BAD_KEY,
        RefusalCode.NO_ROOT_KEY,
        RefusalCode.BAD_SIGNATURE,
        RefusalCode.PROFILE_NOT_ALLOWED,
        RefusalCode.SESSION_HAS_DEVICE,
        RefusalCode.DEVICE_EXISTS,
        RefusalCode.TOO_MANY,
    ),
)
async def register_device(services: Services, actor: Actor, new: NewDevice) -> Answer:
    """Register the device that this session runs on.

    The session is bound to it from then on. The same request again, in the same session, is answered with 200.
    """
    registration = Registration(
        new.device, new.noise_key, new.signing_key, new.identity_key, new.signature, new.profiles
    )
    registered = await services.devices.register(actor, registration)
    if isinstance(registered, Refused):
        return registered
    device = registered.device
    return created(_view(device, actor, current=True), fresh=registered.made)


@devices.put("/<uuid:device>/session")
@signed_in_with_body(
    DeviceProof,
    answers={200: DeviceView},
    refuses=(RefusalCode.NOT_FOUND, RefusalCode.BAD_SIGNATURE, RefusalCode.SESSION_HAS_DEVICE),
)
async def adopt_device(services: Services, actor: Actor, proof: DeviceProof, device: UUID) -> Answer:
    """Come back as a device whose session ended.

    The new session, which has no device yet, is bound to the device from then on; the device's other sessions end. The
    signature is that of the device's signing key over the label `varde.v1 device session`, a zero byte, the session id
    and the device id (16 bytes each). The same request again, in the same session, is answered the same.
    """
    adopted = await services.devices.adopt(actor, DeviceId(device), proof.signature)
    return adopted if isinstance(adopted, Refused) else _view(adopted, actor, current=True)


@devices.put("/<uuid:device>/profiles")
@signed_in_with_body(
    ProfileWhitelist, answers={200: DeviceView}, refuses=(RefusalCode.NOT_FOUND, RefusalCode.PROFILE_NOT_ALLOWED)
)
async def set_device_profiles(services: Services, actor: Actor, wanted: ProfileWhitelist, device: UUID) -> Answer:
    """Replace the profiles that a device receives for.

    Its live connection is cut and its tickets are void: it needs a new one.
    """
    changed = await services.devices.set_profiles(actor, DeviceId(device), wanted.profiles)
    return changed if isinstance(changed, Refused) else _view(changed, actor)


@devices.delete("/<uuid:device>")
@signed_in(answers={204: None}, refuses=(RefusalCode.NOT_FOUND,))
async def revoke_device(services: Services, actor: Actor, device: UUID) -> Answer:
    """Revoke a device for ever.

    Its live connection is cut within a second; its tickets, sessions, prekeys and waiting messages go.
    """
    return await services.devices.revoke(actor, DeviceId(device))


@relay.get("")
@public(answers={200: RelayAddress})
async def show_relay(services: Services) -> Answer:
    """Show where the relay listens, and the Noise static key it shows."""
    return services.relay


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
    return created(RelayTicket(ticket=issued.text, expires_at=instant(issued.expires_ms)))


def certificate(device: Device) -> Certificate:
    """Return a device's public keys with the root key's signature over them."""
    return Certificate(
        account=device.account,
        device=device.id,
        noise_key=device.noise_key,
        signing_key=device.signing_key,
        identity_key=device.identity_key,
        signature=device.signature,
    )


def _view(device: Device, actor: Actor, *, current: bool = False) -> DeviceView:
    return DeviceView(
        certificate=certificate(device),
        profiles=device.profiles,
        created_at=instant(device.created_ms),
        current=current or device.id == actor.device,
    )
