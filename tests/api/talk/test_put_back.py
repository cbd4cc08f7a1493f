"""What a restored server has lost, put back over HTTP: device lists, then the statements that name them."""

import base64

from tests.api.bodies import statements
from tests.api.memory_api import MemoryApi, refusal_of
from tests.cast import alice, alice_phone, bob, bob_phone, carol
from tests.chains import CastSigner, opening
from tests.domain.registry import Registry
from varde_contract import membership_statements as s
from varde_contract.ids import EpochId, uuid7
from varde_contract.refusals import RefusalCode
from varde_contract.talk import ConversationKind

ALICE, BOB, CAROL = (CastSigner(each) for each in (alice_phone, bob_phone, carol.devices[0]))


async def test_a_group_with_a_lost_account_is_whole_again(api: MemoryApi) -> None:
    """Refused as long as nothing was lost, and before the lists are there that its statements name."""
    whole = Registry()
    await whole.settle(carol)
    (stored,) = await whole.stores.devices.lists(carol.account, 1, 9)
    del api.memory.accounts[carol.account]
    for profile in (carol.privat, carol.jobb):
        del api.memory.profiles[profile.id]
    for device in carol.devices:
        del api.memory.devices[device.id], api.memory.device_owners[device.id]
    api.memory.lists.pop((carol.account, 1))
    chain = opening(ALICE, ConversationKind.GROUP, bob, carol)
    chain.say(BOB, s.Accept, None)
    chain.say(CAROL, s.Accept, None)
    path = f"/v1/conversations/{chain.conversation}/statements"
    put = statements(*chain.signed)
    lists = {
        "lists": [base64.b64encode(stored.signed).decode()],
        "openings": {str(carol.profile): base64.b64encode(carol.privat.salt).decode()},
    }
    lists_path = f"/v1/accounts/{carol.account}/device-lists"
    for where, body in ((path, put), (lists_path, lists)):
        assert refusal_of(await api.ask("PUT", where, by=bob_phone, json=body), 403) is RefusalCode.NOT_ALLOWED
    api.memory.epochs.insert(0, (EpochId(uuid7(api.clock(), bytes(10))), {}))
    assert refusal_of(await api.ask("PUT", path, by=bob_phone, json=put), 404) is RefusalCode.NOT_FOUND
    response = await api.ask("PUT", lists_path, by=bob_phone, json=lists)
    assert (response.status_code, response.json()["number"]) == (200, 1)
    for _ in range(2):
        response = await api.ask("PUT", path, by=bob_phone, json=put)
        assert (response.status_code, response.json()) == (200, {"seqs": [1, 2, 3, 4, 5]})
    members = (await api.ask("GET", f"/v1/conversations/{chain.conversation}", by=alice_phone)).json()["members"]
    assert {each["profile"] for each in members} == {str(each.profile) for each in (alice, bob, carol)}
