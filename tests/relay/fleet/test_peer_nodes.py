"""Nodes that are alone and tell nobody, until somebody comes."""

import trio

from domain.events import NodeHere
from domain.talk.events import MessagesCommitted
from relay.fleet.peer_nodes import BEAT, SILENCE
from tests.cast import alice, alice_laptop, bob, bob_phone
from tests.relay.stage import Ground, Letters, Stage, open_room, open_stage
from varde_contract import frames as f


async def test_who_is_alone_tells_nobody(stage: Stage, ground: Ground, letters: Letters) -> None:
    """Without another node, what is committed after the first beat stays off the bus; listeners here hear it."""
    roster = await open_room(ground, alice, bob)
    laptop = await stage.listen(alice_laptop, roster.conversation)
    phone = await stage.listen(bob_phone, roster.conversation)
    await trio.sleep(2 * BEAT)  # in time that jumps
    await laptop.say(letters.group(roster, alice))
    assert (await phone.hear(f.New)).seq == 1
    await laptop.hear_some(2)
    await phone.say(f.Delivered(roster.conversation, 1))
    await laptop.hear(f.DeliveredBy)
    assert ground.told == []


async def test_a_newcomer_misses_nothing(stage: Stage, ground: Ground, letters: Letters) -> None:
    """What was committed in silence while a node came is looked up there, and all that follows is rung for."""
    roster = await open_room(ground, alice, bob)
    laptop = await stage.listen(alice_laptop, roster.conversation)
    await trio.sleep(2 * BEAT)  # in time that jumps
    ground.bus.losing = True  # the newcomer's first word has not arrived yet
    async with open_stage(ground) as other:
        phone = await other.listen(bob_phone, roster.conversation)
        await laptop.say(letters.group(roster, alice))
        await laptop.hear(f.Ack)
        assert await phone.hear_now() == []
        ground.bus.losing = False
        ground.bus.publish_nowait([NodeHere(other.services.node, quiet=False)])
        assert (await phone.hear(f.New)).seq == 1
        await laptop.say(letters.group(roster, alice))
        assert (await phone.hear(f.New)).seq == 2
        assert MessagesCommitted(stage.services.node, roster.conversation, 2) in ground.told


async def test_two_nodes_never_believe_to_be_alone(ground: Ground, letters: Letters) -> None:
    """However long they are there together, each rings for what it commits; and no more when the other has gone."""
    roster = await open_room(ground, alice, bob)
    async with open_stage(ground) as one:
        laptop = await one.listen(alice_laptop, roster.conversation)
        async with open_stage(ground) as other:
            phone = await other.listen(bob_phone, roster.conversation)
            for seq in (1, 2, 3):
                await trio.sleep(SILENCE)  # in time that jumps
                await laptop.say(letters.group(roster, alice))
                assert (await phone.hear(f.New)).seq == seq
        await trio.sleep(SILENCE + 2 * BEAT)  # in time that jumps
        assert one.services.announcer.alone


async def test_a_bus_that_broke_ends_the_solitude(stage: Stage, ground: Ground) -> None:
    """Words may have been lost with it: the node says again that it is there, and that it was silent."""
    await trio.sleep(2 * BEAT)  # in time that jumps
    assert stage.services.announcer.alone
    ground.bus.lose_track()
    await trio.sleep(BEAT)  # in time that jumps
    assert NodeHere(stage.services.node, quiet=True) in ground.bus.published
