"""Events about people on the bus. They hold ids only, nothing secret."""

from msgspec import Struct

from varde_contract.ids import ConversationId, DeviceId, ProfileId


class DevicesChanged(Struct, frozen=True, tag="devices-changed"):
    """A member's device list moved; the roster is at `version`."""

    conversation: ConversationId
    version: int


class ProfileChanged(Struct, frozen=True, tag="profile-changed"):
    """A profile's policies are different now; rosters that hold it are out of date."""

    profile: ProfileId


class TicketsRevoked(Struct, frozen=True, tag="tickets-revoked"):
    """Cut the device's connection; its tickets issued before `not_before_ms` are void, with `final` all of them."""

    device: DeviceId
    not_before_ms: int
    final: bool


class DeviceConnected(Struct, frozen=True, tag="device-connected"):
    """A device has connected to `node`. Of two connections of it, that with the higher `number` stays."""

    node: str
    device: DeviceId
    number: int


class KeysLow(Struct, frozen=True, tag="keys-low"):
    """A device has `left` one-time keys."""

    device: DeviceId
    left: int
