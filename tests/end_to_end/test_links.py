"""Invitations by link over the real system: who is given one comes in, and not once more than it says."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

import varde
from tests.end_to_end.stack import Stack, connected, open_group, people, texts
from varde_contract.rest.talk import ChainHead

pytestmark = pytest.mark.xdist_group("end-to-end")


async def test_who_has_the_link_comes_in(stack: Stack, tmp_path: Path) -> None:
    """A link for one: the second is refused. One whose head is another is for another group, and nothing is sent."""
    alice, bob, carol, dave = await people(stack, tmp_path, "alice", "bob", "carol", "dave")
    soon = datetime.now(UTC) + timedelta(hours=1)
    laptops = [(person, "laptop") for person in (alice, bob, carol, dave)]
    async with connected(*laptops) as (hers, his, carols, daves):
        group = await open_group(hers, his)
        link = await group.make_link(soon)
        joined = await carols.join_by_link(link)
        await joined.send("hei fra lenken")
        assert await texts(his, group, 1) == ["hei fra lenken"]
        await group.send("velkommen")
        assert await texts(carols, group, 1) == ["velkommen"]
        with pytest.raises(varde.NotFound):
            await daves.join_by_link(link)
        gone = await group.make_link(soon, uses=2)
        await group.revoke_link(gone.key)
        with pytest.raises(varde.NotFound):
            await daves.join_by_link(gone)
        other = await group.make_link(soon, uses=2)
        with pytest.raises(varde.UntrustedDevice):
            await daves.join_by_link(replace(other, head=ChainHead(other.head.number, bytes(32))))
        with pytest.raises(varde.UntrustedDevice):
            await daves.conversation(group.id).send("til hvem?")
