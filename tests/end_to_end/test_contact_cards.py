"""Contacts passed on in a conversation, over the real system: who gets a card believes its sender, not the server."""

from pathlib import Path

import pytest
from msgspec.structs import replace

import varde
from tests.end_to_end.stack import Stack, connected, open_dm, people, texts
from tests.end_to_end.test_consent import address, listening
from varde.events import ContactShared

pytestmark = pytest.mark.xdist_group("end-to-end")


async def test_a_contact_is_passed_on_and_vouched_for(stack: Stack, tmp_path: Path) -> None:
    """Alice introduces Carol to Bob, who writes to her; he has met her root key by Alice's word alone."""
    alice, bob, carol = await people(stack, tmp_path, "alice", "bob", "carol")
    async with connected((alice, "laptop"), (bob, "laptop"), (carol, "laptop")) as (hers, his, carols):
        dm, known = await open_dm(hers, his), await open_dm(hers, carols)
        hers.contacts.add("carol", address(carols))
        async with listening(his) as (by_bob,):
            await dm.share_contact(address(carols))
            await by_bob.wait_for(lambda event: isinstance(event, ContactShared))
        (card,) = his.shared_contacts()
        assert (card.name, card.contact, card.profile) == ("carol", address(carols), address(hers))
        assert hers.shared_contacts() == []
        await his.add_shared_contact(card, "Carol C.")
        assert his.contacts.all() == {"Carol C.": address(carols)}
        assert his.contacts.vouched_by(address(carols)) == address(hers)
        asked = await his.open_dm(address(carols))
        await carols.conversation(asked.id).accept()
        await asked.send("hei, Alice sa jeg skulle hilse")
        assert await texts(carols, asked, 1) == ["hei, Alice sa jeg skulle hilse"]
        assert his.safety_number(carols.identity.account) == carols.safety_number(his.identity.account)
        assert known.id != asked.id


async def test_a_card_that_lies_comes_to_nothing(stack: Stack, tmp_path: Path) -> None:
    """Another root key, another account, a name that is somebody else's already, and somebody who hides."""
    alice, bob, carol = await people(stack, tmp_path, "alice", "bob", "carol")
    async with connected((alice, "laptop"), (bob, "laptop"), (carol, "laptop")) as (hers, his, carols):
        dm = await open_dm(hers, his)
        await open_dm(hers, carols)
        async with listening(his) as (by_bob,):
            await dm.share_contact(address(carols), "Carol")
            await by_bob.wait_for(lambda event: isinstance(event, ContactShared))
        (card,) = his.shared_contacts()
        with pytest.raises(varde.UntrustedDevice, match="another root key"):
            await his.add_shared_contact(replace(card, root_hash=bytes(32)))
        with pytest.raises(varde.UntrustedDevice, match="another account"):
            await his.add_shared_contact(replace(card, contact_account=hers.identity.account))
        with pytest.raises(varde.NotFound):
            his.safety_number(carols.identity.account)
        his.contacts.add("Carol", address(hers))
        with pytest.raises(ValueError, match="somebody else"):
            await his.add_shared_contact(card)
        assert his.contacts.profile_of("Carol") == address(hers)
        await carols.set_found_by("nobody")
        with pytest.raises(varde.NotFound):
            await his.add_shared_contact(card, "the other one")
        assert his.contacts.all() == {"Carol": address(hers)}


async def test_nobody_is_passed_on_whom_this_device_does_not_know(stack: Stack, tmp_path: Path) -> None:
    """Neither somebody it has not met, nor without a name, nor by one that cannot be shown."""
    alice, bob, carol = await people(stack, tmp_path, "alice", "bob", "carol")
    async with connected((alice, "laptop"), (bob, "laptop"), (carol, "laptop")) as (hers, his, carols):
        dm = await open_dm(hers, his)
        with pytest.raises(varde.NotFound):
            await dm.share_contact(address(carols), "carol")
        with pytest.raises(varde.NotFound):
            await dm.share_contact(address(his))
        for name in ("", "  ", "two\nlines", "\u202eevil", "x" * 65):
            with pytest.raises((ValueError, varde.NotFound)):
                await dm.share_contact(address(his), name)
        assert his.shared_contacts() == []
