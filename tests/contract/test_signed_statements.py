"""What is signed names everything it vouches for, and nothing else could have been meant."""

from itertools import combinations
from uuid import UUID

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.ids import id_of
from varde_contract.ids import AccountId, DeviceId, SessionId
from varde_contract.signed_statements import (
    KEM_KEY_BYTES,
    KEY_BYTES,
    device_statement,
    fallback_key_statement,
    one_time_key_statement,
    session_statement,
)

keys = st.binary(min_size=KEY_BYTES, max_size=KEY_BYTES)
devices = st.tuples(st.uuids(), st.uuids(), keys, keys, keys)
KEM_KEY = bytes(KEM_KEY_BYTES)
ACCOUNT, DEVICE = AccountId(id_of(1)), DeviceId(id_of(2))


def statement_of(device: tuple[UUID, UUID, bytes, bytes, bytes]) -> bytes:
    """The statement over what Hypothesis made."""
    account, own, noise, signing, identity = device
    return device_statement(
        AccountId(account), DeviceId(own), noise_key=noise, signing_key=signing, identity_key=identity
    )


@given(devices, devices)
def test_no_two_devices_share_a_statement(
    one: tuple[UUID, UUID, bytes, bytes, bytes], other: tuple[UUID, UUID, bytes, bytes, bytes]
) -> None:
    """A certificate cannot be carried to another account, another device or another key."""
    assume(one != other)
    assert statement_of(one) != statement_of(other)


def test_every_field_counts() -> None:
    """Changing any single field changes the bytes that are signed."""
    plain = (id_of(1), id_of(2), b"n" * KEY_BYTES, b"s" * KEY_BYTES, b"i" * KEY_BYTES)
    others = (id_of(3), id_of(3), *(bytes(KEY_BYTES),) * 3)
    changed = {
        statement_of((*plain[:field], other, *plain[field + 1 :]))  # type: ignore[arg-type]  # mypy loses the positions
        for field, other in enumerate(others)
    }
    assert len(changed | {statement_of(plain)}) == 6


@given(devices, keys)
def test_a_signature_over_one_kind_never_passes_for_another(
    device: tuple[UUID, UUID, bytes, bytes, bytes], key: bytes
) -> None:
    """No statement is the beginning of one of another kind, whatever the ids and keys."""
    kinds = (
        statement_of(device),
        one_time_key_statement(DeviceId(device[1]), key, KEM_KEY),
        fallback_key_statement(DeviceId(device[1]), key, KEM_KEY),
        session_statement(SessionId(device[0]), DeviceId(device[1])),
    )
    assert not [pair for pair in combinations(kinds, 2) if pair[0].startswith(pair[1]) or pair[1].startswith(pair[0])]


def test_a_session_and_a_device_do_not_change_places() -> None:
    """A proof is for one device in one session: with either exchanged, or both for each other, it is another."""
    ids = (id_of(1), id_of(2), id_of(3))
    pairs = [(session, device) for session in ids for device in ids]
    assert len({session_statement(SessionId(session), DeviceId(device)) for session, device in pairs}) == len(pairs)


@pytest.mark.parametrize("size", [0, KEY_BYTES - 1, KEY_BYTES + 1])
@pytest.mark.parametrize("field", ["noise_key", "signing_key", "identity_key"])
def test_a_key_of_another_length_is_refused(field: str, size: int) -> None:
    """Fixed lengths are what keeps two statements apart, so another length is never signed."""
    given_keys = dict.fromkeys(("noise_key", "signing_key", "identity_key"), bytes(KEY_BYTES)) | {field: bytes(size)}
    with pytest.raises(ValueError, match="32 bytes"):
        device_statement(ACCOUNT, DEVICE, **given_keys)


@pytest.mark.parametrize("size", [0, KEY_BYTES - 1, KEY_BYTES + 1])
def test_a_prekey_of_another_length_is_refused(size: int) -> None:
    """The same holds for one-time and fallback keys."""
    for statement in (one_time_key_statement, fallback_key_statement):
        with pytest.raises(ValueError, match="32 bytes"):
            statement(DEVICE, bytes(size), KEM_KEY)
        with pytest.raises(ValueError, match="1216 bytes"):
            statement(DEVICE, bytes(KEY_BYTES), bytes(size))
