"""What is signed names everything it vouches for, and nothing else could have been meant."""

from itertools import combinations
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ids import id_of
from varde_contract.device_list import statement_to_sign
from varde_contract.ids import DeviceId, SessionId
from varde_contract.signed_statements import (
    KEM_KEY_BYTES,
    KEY_BYTES,
    fallback_key_statement,
    one_time_key_statement,
    session_statement,
)

keys = st.binary(min_size=KEY_BYTES, max_size=KEY_BYTES)
KEM_KEY = bytes(KEM_KEY_BYTES)
DEVICE = DeviceId(id_of(2))


@given(st.uuids(), st.uuids(), keys, st.binary(max_size=100))
def test_a_signature_over_one_kind_never_passes_for_another(
    session: UUID, device: UUID, key: bytes, encoded: bytes
) -> None:
    """No statement is the beginning of one of another kind, whatever the ids, keys and lists."""
    kinds = (
        statement_to_sign(encoded),
        one_time_key_statement(DeviceId(device), key, KEM_KEY),
        fallback_key_statement(DeviceId(device), key, KEM_KEY),
        session_statement(SessionId(session), DeviceId(device)),
    )
    assert not [pair for pair in combinations(kinds, 2) if pair[0].startswith(pair[1]) or pair[1].startswith(pair[0])]


def test_a_session_and_a_device_do_not_change_places() -> None:
    """A proof is for one device in one session: with either exchanged, or both for each other, it is another."""
    ids = (id_of(1), id_of(2), id_of(3))
    pairs = [(session, device) for session in ids for device in ids]
    assert len({session_statement(SessionId(session), DeviceId(device)) for session, device in pairs}) == len(pairs)


@pytest.mark.parametrize("size", [0, KEY_BYTES - 1, KEY_BYTES + 1])
def test_a_prekey_of_another_length_is_refused(size: int) -> None:
    """Fixed lengths are what keeps two statements apart, so another length is never signed."""
    for statement in (one_time_key_statement, fallback_key_statement):
        with pytest.raises(ValueError, match="32 bytes"):
            statement(DEVICE, bytes(size), KEM_KEY)
        with pytest.raises(ValueError, match="1216 bytes"):
            statement(DEVICE, bytes(KEY_BYTES), bytes(size))
