"""The devices of the account."""

from uuid import UUID

from quart import Blueprint

from api.instants import instant
from api.operation import operation
from api.replies import Answer, created
from api.world import World
from domain.people.model import Actor, Device
from varde_contract.ids import DeviceId
from varde_contract.refusals import RefusalCode, Refused
from varde_contract.rest.devices import Certificate, DeviceProof, Devices, DeviceView, NewDevice, ProfileWhitelist

blueprint = Blueprint("devices", __name__, url_prefix="/v1/devices")


@blueprint.get("")
@operation(answers={200: Devices})
async def list_devices(world: World, actor: Actor) -> Answer:
    """List the account's devices that are not revoked, oldest first."""
    return Devices(tuple(_view(device, actor) for device in await world.devices.list_all(actor)))


@blueprint.post("")
@operation(
    body=NewDevice,
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
async def register_device(world: World, actor: Actor, new: NewDevice) -> Answer:
    """Register the device that this session runs on.

    The session is bound to it from then on. The same request again, in the same session, is answered with 200.
    """
    registered = await world.devices.register(actor, new)
    if isinstance(registered, Refused):
        return registered
    device = registered.device
    return created(_view(device, actor, current=True), fresh=registered.made)


@blueprint.put("/<uuid:device>/session")
@operation(
    body=DeviceProof,
    answers={200: DeviceView},
    refuses=(RefusalCode.NOT_FOUND, RefusalCode.BAD_SIGNATURE, RefusalCode.SESSION_HAS_DEVICE),
)
async def adopt_device(world: World, actor: Actor, proof: DeviceProof, device: UUID) -> Answer:
    """Come back as a device whose session ended.

    The new session, which has no device yet, is bound to the device from then on; the device's other sessions end. The
    signature is that of the device's signing key over the label `varde.v1 device session`, a zero byte, the session id
    and the device id (16 bytes each). The same request again, in the same session, is answered the same.
    """
    adopted = await world.devices.adopt(actor, DeviceId(device), proof.signature)
    return adopted if isinstance(adopted, Refused) else _view(adopted, actor, current=True)


@blueprint.put("/<uuid:device>/profiles")
@operation(
    body=ProfileWhitelist,
    answers={200: DeviceView},
    refuses=(RefusalCode.NOT_FOUND, RefusalCode.PROFILE_NOT_ALLOWED),
)
async def set_device_profiles(world: World, actor: Actor, wanted: ProfileWhitelist, device: UUID) -> Answer:
    """Replace the profiles that a device receives for.

    Its live connection is cut and its tickets are void: it needs a new one.
    """
    changed = await world.devices.set_profiles(actor, DeviceId(device), wanted.profiles)
    return changed if isinstance(changed, Refused) else _view(changed, actor)


@blueprint.delete("/<uuid:device>")
@operation(answers={204: None}, refuses=(RefusalCode.NOT_FOUND,))
async def revoke_device(world: World, actor: Actor, device: UUID) -> Answer:
    """Revoke a device for ever.

    Its live connection is cut within a second; its tickets, sessions, prekeys and waiting messages go.
    """
    return await world.devices.revoke(actor, DeviceId(device))


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
