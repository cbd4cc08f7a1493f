"""HKDF beside the standard library's HMAC: two ways to write section 4.3."""

import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from varde_contract.noise.primitives import HASHES


@pytest.mark.parametrize(("name", "algorithm"), [(name, name.lower()) for name in HASHES])
@given(st.data())
def test_keys_are_those_of_hmac(name: str, algorithm: str, data: st.DataObject) -> None:
    """For every hash, whatever is mixed in, and also where the chaining key begins or ends with zeros."""
    function = HASHES[name]
    key = data.draw(st.binary(min_size=function.size, max_size=function.size) | st.just(bytes(function.size)))
    material = data.draw(st.binary(max_size=200))
    extracted = hmac.digest(key, material, algorithm)
    wanted, latest = [], b""
    for number in (1, 2, 3):
        latest = hmac.digest(extracted, latest + bytes((number,)), algorithm)
        wanted.append(latest)
    assert function.hkdf(key, material, 3) == wanted
    assert function.hkdf(key, material, 2) == wanted[:2]
