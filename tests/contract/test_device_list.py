"""Device lists: which list may follow which, and that nothing else may."""

import contextlib
import hashlib
import json
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.contract.device_lists import (
    DAY_MS,
    NOW_MS,
    PROFILE,
    SALT,
    device,
    device_id,
    exchange_key,
    first,
    following,
    public,
    sign,
)
from tests.contract.strategies import structs
from tests.contract.vectors.write import FOLDER
from varde_contract import device_list as d
from varde_contract.errors import PeerFault
from varde_contract.ids import DeviceId, ProfileId

PHONE = device("phone", manager=True)
LAPTOP = device("laptop")
TABLET = device("tablet", manager=True)
ONE = first(PHONE)
BOTH = first(LAPTOP, PHONE)
MANAGERS = first(LAPTOP, PHONE, TABLET)
PENDING = d.PendingRoot(public("new root"), NOW_MS + 8 * DAY_MS)
ANNOUNCED = following(MANAGERS, pending_root=PENDING)


def names_of(devices: d.DeviceList) -> list[str]:
    """The devices that this test knows."""
    return [name for name in ("laptop", "phone", "tablet") if devices.find(device_id(name))]


def refuses(previous: d.DeviceList | None, signed: d.SignedDeviceList, rule: str, **given_: Any) -> None:
    """The list is refused for this rule."""
    with pytest.raises(PeerFault, match=rule):
        d.judge(previous, signed, **given_)


@given(structs(d.DeviceList))
def test_every_list_has_one_encoding(devices: d.DeviceList) -> None:
    """What is encoded is decoded again, and its bytes are its only ones."""
    assert d.decode_list(d.encode(devices)) == devices


@given(structs(d.SignedDeviceList))
def test_every_signed_list_has_one_encoding(signed: d.SignedDeviceList) -> None:
    """The same for a list with its signatures."""
    assert d.decode_signed_list(d.encode(signed)) == signed


@given(st.binary(max_size=400))
def test_no_bytes_surprise_the_decoder(garbage: bytes) -> None:
    """Whatever comes, the answer is a list or a fault of the peer."""
    for decode in (d.decode_list, d.decode_signed_list):
        with contextlib.suppress(PeerFault):
            decode(garbage)


def test_another_encoding_of_the_same_list_is_refused() -> None:
    """Ids as text, longer integers, more items: the same values under another hash."""
    values = msgspec.msgpack.decode(d.encode(ONE))
    for other in (msgspec.msgpack.encode([*values, None]), msgspec.msgpack.encode(ONE), d.encode(ONE) + b"\x00"):
        with pytest.raises(PeerFault):
            d.decode_list(other)
    longer = d.encode(ONE).replace(b"\x01", b"\xcc\x01", 1)
    with pytest.raises(PeerFault):
        d.decode_list(longer)


def test_a_list_that_is_too_long_is_not_read() -> None:
    """The bound comes before the decoder."""
    with pytest.raises(PeerFault, match="too long"):
        d.decode_signed_list(bytes(d.DEVICE_LIST_BYTES + 1))


def test_the_fullest_list_fits() -> None:
    """Sixteen devices with eight profiles each, all new, announced by everybody."""
    profiles = tuple(sorted(hashlib.sha256(bytes([n])).digest() for n in range(8)))
    many = [device(chr(97 + n), manager=True, valid_until_ms=2**62, profiles=profiles) for n in range(16)]
    signed = sign(first(*many), *(chr(97 + n) for n in range(16)), roots=["root"])
    assert d.judge(None, signed, now_ms=NOW_MS).devices == tuple(many)
    assert len(d.encode(signed)) <= d.DEVICE_LIST_BYTES


def test_a_first_list_is_signed_by_its_root_and_its_device() -> None:
    """Both halves: the person vouches for the device, the device proves that it has its keys."""
    assert d.judge(None, sign(ONE, "phone", roots=["root"])) == ONE
    assert d.judge(None, sign(first(), roots=["root"])).devices == ()
    refuses(None, sign(ONE, roots=["root"]), "new device")
    refuses(None, sign(ONE, "phone"), "root keys")
    refuses(None, sign(ONE, "phone", roots=["other"]), "does not verify")
    refuses(None, sign(following(ONE), "phone", roots=["root"]), "number 1")


def test_a_device_comes_by_the_root_or_by_a_manager() -> None:
    """With its own signature each time."""
    added = following(ONE, devices=(LAPTOP, PHONE))
    assert d.judge(ONE, sign(added, "laptop", roots=["root"])) == added
    assert d.judge(ONE, sign(added, "laptop", "phone")) == added
    refuses(ONE, sign(added, "phone"), "new device")
    refuses(ONE, sign(added, "laptop"), "one manager")
    refuses(ONE, sign(added, "laptop", "phone", roots=["root"]), "one manager")


def test_a_new_device_signs_with_its_own_keys() -> None:
    """Nobody lists a device whose keys are somebody else's."""
    stolen = replace(LAPTOP, signing_key=public("victim"))
    refuses(ONE, sign(following(ONE, devices=(stolen, PHONE)), "laptop", roots=["root"]), "does not verify")


def test_a_device_that_is_no_manager_signs_nothing() -> None:
    """A device of the list before, but not its manager; nor one that becomes a manager by this very list."""
    refuses(BOTH, sign(following(BOTH, devices=(LAPTOP,)), "laptop"), "may not sign")
    promoted = replace(LAPTOP, manager=True)
    refuses(BOTH, sign(following(BOTH, devices=(promoted, PHONE)), "laptop"), "may not sign")
    assert d.judge(BOTH, sign(following(BOTH, devices=(promoted, PHONE)), "phone")).number == 2


def test_one_manager_removes_another_and_the_root_outranks_it() -> None:
    """Who is removed signs no more; the root key always does."""
    left = following(MANAGERS, devices=(LAPTOP, TABLET))
    assert d.judge(MANAGERS, sign(left, "tablet")) == left
    refuses(left, sign(following(left, devices=(LAPTOP,)), "phone"), "may not sign")
    assert d.judge(left, sign(following(left, devices=()), roots=["root"])).devices == ()


def test_a_manager_whose_time_is_over_signs_nothing() -> None:
    """By the time of the list, and that by the clock of who stores it."""
    before = first(replace(PHONE, valid_until_ms=NOW_MS + DAY_MS))
    assert d.judge(before, sign(following(before), "phone")).number == 2
    late = following(before, issued_ms=NOW_MS + DAY_MS)
    refuses(before, sign(late, "phone"), "may not sign")
    refuses(before, sign(following(before), "phone"), "clock", now_ms=NOW_MS + 2 * DAY_MS)
    refuses(before, sign(late, roots=["root"]), "clock", now_ms=NOW_MS)


@pytest.mark.parametrize(
    "other",
    [
        {"number": 3},
        {"previous": bytes(32)},
        {"previous": None},
        {"account": device_id("x")},
        {"issued_ms": NOW_MS - 1},
        {"devices": (replace(PHONE, noise_key=exchange_key("x")),)},
        {"devices": (replace(PHONE, identity_key=exchange_key("x")),)},
        {"devices": (replace(PHONE, signing_key=public("x")),)},
    ],
    ids=str,
)
def test_a_list_follows_the_one_before(other: dict[str, Any]) -> None:
    """Its number, its hash, its account, its time, and the keys of devices that stay."""
    with pytest.raises(PeerFault):
        d.judge(ONE, sign(replace(following(ONE), **other), roots=["root"]))


@pytest.mark.parametrize(
    "devices",
    [
        (PHONE, LAPTOP),
        (PHONE, PHONE),
        (LAPTOP, replace(PHONE, signing_key=LAPTOP.signing_key)),
        (LAPTOP, replace(PHONE, identity_key=LAPTOP.identity_key)),
        (replace(PHONE, noise_key=PHONE.identity_key),),
        (replace(PHONE, signing_key=public("root")),),
        (replace(PHONE, profiles=PHONE.profiles * 2),),
        (replace(PHONE, noise_key=bytes(32)),),
        (replace(PHONE, identity_key=PHONE.identity_key[:-1] + bytes([PHONE.identity_key[-1] | 0x80])),),
        (replace(PHONE, signing_key=bytes([1]) + bytes(31)),),
        (replace(PHONE, device=DeviceId(UUID(int=0))),),
    ],
    ids=lambda _: "",
)
def test_a_bad_list_is_refused_whoever_signs(devices: tuple[d.ListedDevice, ...]) -> None:
    """Order, doubles, keys that are not canonical or of small order, ids that are no UUIDv7."""
    bad = first(*devices)
    refuses(None, sign(bad, *names_of(bad), roots=["root"]), "device list")


def test_a_root_key_changes_when_old_and_new_sign() -> None:
    """Whoever has the phrase makes a new one at once; neither key alone does it, nor a manager."""
    changed = following(ONE, root_key=public("new root"))
    assert d.judge(ONE, sign(changed, roots=["root", "new root"])) == changed
    for roots in (["root"], ["new root"], ["new root", "root"], []):
        refuses(ONE, sign(changed, "phone", roots=roots), "device list")
        if roots:
            refuses(ONE, sign(changed, roots=roots), "device list")


def test_all_managers_announce_a_root_key_that_takes_over_after_seven_days() -> None:
    """The phrase is lost: nobody less than all of them, no sooner, and the new key itself signs then."""
    assert d.judge(MANAGERS, sign(ANNOUNCED, "phone", "tablet"), now_ms=NOW_MS) == ANNOUNCED
    for names, roots in ((["phone"], []), (["phone", "tablet"], ["root"]), ([], ["root"])):
        refuses(MANAGERS, sign(ANNOUNCED, *names, roots=roots), "all managers")
    early = following(MANAGERS, pending_root=d.PendingRoot(public("new root"), NOW_MS + 7 * DAY_MS))
    refuses(MANAGERS, sign(early, "phone", "tablet"), "seven days")

    new = {"root_key": public("new root"), "pending_root": None}
    taken = following(ANNOUNCED, issued_ms=NOW_MS + 8 * DAY_MS, **new)
    assert d.judge(ANNOUNCED, sign(taken, roots=["new root"])) == taken
    refuses(ANNOUNCED, sign(following(ANNOUNCED, **new), roots=["new root"]), "as many signatures")
    refuses(ANNOUNCED, sign(taken, "phone", "tablet"), "root keys alone")


def test_nobody_to_announce_is_not_everybody() -> None:
    """A list without managers announces nothing."""
    refuses(first(LAPTOP), sign(following(first(LAPTOP), pending_root=PENDING), "laptop"), "device list")
    refuses(None, sign(first(pending_root=PENDING), roots=["root"]), "announces")


def test_any_manager_or_the_root_cancels_an_announcement_and_any_keeps_it() -> None:
    """One list without it is enough; another device that comes meanwhile is no reason to begin again."""
    cancelled = following(ANNOUNCED, pending_root=None)
    assert d.judge(ANNOUNCED, sign(cancelled, "tablet")) == cancelled
    assert d.judge(ANNOUNCED, sign(cancelled, roots=["root"])) == cancelled
    kept = following(ANNOUNCED, devices=(PHONE, TABLET))
    assert d.judge(ANNOUNCED, sign(kept, "phone")) == kept
    other = following(ANNOUNCED, pending_root=d.PendingRoot(public("third"), NOW_MS + 9 * DAY_MS))
    refuses(ANNOUNCED, sign(other, "phone"), "all managers")
    changed = following(ANNOUNCED, root_key=public("third"))
    refuses(ANNOUNCED, sign(changed, roots=["root", "third"]), "announces")


def test_signatures_are_exactly_those_that_are_needed() -> None:
    """With a superfluous one, or in another order, anybody could make other bytes of the same list."""
    signed = sign(BOTH, "laptop", "phone", roots=["root"])
    turned = d.SignedDeviceList(signed.statement, signed.signatures[::-1])
    doubled = d.SignedDeviceList(signed.statement, (*signed.signatures, signed.signatures[-1]))
    refuses(None, turned, "order")
    refuses(None, doubled, "order")
    refuses(MANAGERS, sign(following(MANAGERS), "phone", "tablet"), "one manager")
    refuses(MANAGERS, sign(following(MANAGERS), "phone", roots=["root"]), "one manager")
    refuses(MANAGERS, sign(following(MANAGERS), roots=["root", "root"]), "as many")


@given(st.data())
def test_no_bit_of_a_signed_list_can_be_changed(data: st.DataObject) -> None:
    """Statement and signatures: whatever bit an operator flips, the list is refused."""
    encoded = bytearray(d.encode(sign(BOTH, "laptop", "phone", roots=["root"])))
    bit = data.draw(st.integers(0, len(encoded) * 8 - 1))
    encoded[bit // 8] ^= 1 << bit % 8
    with pytest.raises(PeerFault):
        d.judge(None, d.decode_signed_list(bytes(encoded)))


def test_a_commitment_hides_the_profile_and_binds_it() -> None:
    """Another salt or profile is another commitment; a salt has its length, so that the two cannot run together."""
    plain = d.commitment(PROFILE, SALT)
    assert plain not in {d.commitment(PROFILE, bytes(32)), d.commitment(ProfileId(device_id("x")), SALT)}
    with pytest.raises(ValueError, match="32 bytes"):
        d.commitment(PROFILE, SALT[:-1])


def test_golden_lists_are_judged_as_written() -> None:
    """The history of one account, and what was refused on its way, read from the bytes alone."""
    golden = json.loads((FOLDER / "device_lists.json").read_text(encoding="utf-8"))
    assert d.commitment(ProfileId(UUID(golden["profile"])), bytes.fromhex(golden["salt"])).hex() == golden["commitment"]
    previous = None
    for step in golden["history"]:
        for refused in step["refused_before"]:
            refuses(previous, d.decode_signed_list(bytes.fromhex(refused["signed"])), refused["rule"])
        previous = d.judge(previous, d.decode_signed_list(bytes.fromhex(step["signed"])))
        assert d.list_hash(previous).hex() == step["hash"]
