"""The life of a session is two tables: every pair in them is allowed, every pair not in them is refused.

Chance has its own file, `test_session_walk`.
"""

from itertools import permutations, product
from typing import NamedTuple

import pytest
from msgspec import Struct

from tests.contract import examples as x
from tests.contract.two_cores import CLIENT_KEYS, RELAY_KEM, RELAY_KEYS, open_pair, took
from varde_contract import codec
from varde_contract import frames as f
from varde_contract.close_codes import CloseCode
from varde_contract.errors import LocalMisuse, PeerFault
from varde_contract.kem import MLKEM_CIPHERTEXT_BYTES, MlKemKeyPair, encapsulate_mlkem
from varde_contract.noise import Handshake, KeyPair
from varde_contract.session import (
    CLIENT_FRAMES,
    PROTOCOL_VERSION,
    SERVER_FRAMES,
    ClientSession,
    Pattern,
    ServerSession,
    State,
    noise_name,
    prologue,
)

TALKING = (State.GREETING, State.LIVE, State.DRAINING)
CLIENT_PAIRS = list(product(State, x.CLIENT_KINDS))
SERVER_PAIRS = list(product(State, x.SERVER_KINDS))


def name_of(part: object) -> str:
    """A pair's part as a word in the test's id."""
    return part.value if isinstance(part, State) else getattr(part, "__name__", "")


def hold(session: ClientSession | ServerSession, frame: Struct) -> bytes:
    """Seal a frame that the session itself would never send, as a peer that holds the keys can."""
    return session.seal(codec.pack([codec.encode_frame(frame)]))


@pytest.mark.parametrize("pattern", Pattern)
def test_frame_hello_ends_the_handshake(pattern: Pattern) -> None:
    """One message at a time, both patterns come to where Hello is to be judged, and each knows who the other is."""
    pair = open_pair(pattern)
    assert pair.states == (State.HANDSHAKE, State.HANDSHAKE)
    assert pair.server.receive(pair.client.open()) == []
    assert pair.server.state is (State.GREETING if pattern.one_round_trip else State.HANDSHAKE)
    assert pair.client.receive(took(pair.server.take_reply())) == []
    assert pair.client.state is State.GREETING
    reply = pair.client.take_reply()
    assert (reply is None) is pattern.one_round_trip
    if reply is not None:
        assert pair.server.receive(reply) == []
    assert pair.states == (State.GREETING, State.GREETING)
    assert (pair.server.pattern, pair.server.hello) == (pattern, x.HELLO)
    assert pair.server.remote_static == CLIENT_KEYS.public
    assert pair.client.remote_static == RELAY_KEYS.public
    assert pair.client.handshake_hash == pair.server.handshake_hash != b""


@pytest.mark.parametrize("pattern", Pattern)
def test_a_reply_is_handed_out_once(pattern: Pattern) -> None:
    """Nobody can send a handshake message twice by asking twice."""
    pair = open_pair(pattern)
    pair.server.receive(pair.client.open())
    assert pair.client.take_reply() is None
    assert pair.server.take_reply() is not None
    assert pair.server.take_reply() is None


@pytest.mark.parametrize("pattern", Pattern)
def test_the_first_byte_names_the_pattern(pattern: Pattern) -> None:
    """1 is XX, 2 is IK, 3 and 4 are their post-quantum kind, as the protocol says; the byte is in the prologue."""
    assert (Pattern.XX, Pattern.IK, Pattern.XXpsk3, Pattern.IKpsk1) == (1, 2, 3, 4)
    assert open_pair(pattern).client.open()[0] == pattern
    assert prologue(pattern) == b"varde.v2" + bytes((pattern,))


@pytest.mark.parametrize("first", [b"", b"\x00", b"\xff", b"\x00" * 96, b"GET / HTTP/1.1"])
def test_another_first_byte_fails_the_handshake(first: bytes) -> None:
    """A stranger's first byte closes with unsupported-handshake, before any key is touched."""
    server = ServerSession(RELAY_KEYS)
    with pytest.raises(PeerFault, match="no known pattern") as refused:
        server.receive(first)
    assert refused.value.close_code is CloseCode.UNSUPPORTED_HANDSHAKE
    assert (server.state, server.take_reply()) == (State.CLOSED, None)


@pytest.mark.parametrize(("meant", "said"), list(permutations(Pattern, 2)))
def test_the_pattern_byte_cannot_be_changed_on_the_way(meant: Pattern, said: Pattern) -> None:
    """A handshake that somebody on the way turns into the other pattern does not come to its end."""
    pair = open_pair(meant)
    first = bytes((said,)) + pair.client.open()[1:]
    with pytest.raises(PeerFault):  # noqa: PT012 - where it fails depends on the pattern
        pair.server.receive(first)
        pair.client.receive(took(pair.server.take_reply()))
    assert State.GREETING not in pair.states


@pytest.mark.parametrize("pattern", Pattern)
def test_a_relay_with_another_key_never_sees_the_ticket(pattern: Pattern) -> None:
    """Against a key the client knows, an impostor is found out before Hello can be read."""
    impostor = ServerSession(KeyPair.generate(), MlKemKeyPair.generate())
    client = open_pair(pattern).client
    with pytest.raises(PeerFault) as refused:  # noqa: PT012 - IK fails at the impostor, XX at the client
        impostor.receive(client.open())
        client.receive(took(impostor.take_reply()))
    assert refused.value.close_code is CloseCode.HANDSHAKE_FAILED
    assert impostor.hello is None
    assert client.take_reply() is None


@pytest.mark.parametrize("pattern", [Pattern.IK, Pattern.XXpsk3, Pattern.IKpsk1])
def test_while_its_keys_change_a_relay_is_met_under_both(pattern: Pattern) -> None:
    """It answers with the keys that the client expects, whether those are the first or others."""
    own = KeyPair.generate(), MlKemKeyPair.generate()
    pair = open_pair(pattern)._replace(server=ServerSession(*own, others=[own, (RELAY_KEYS, RELAY_KEM)]))
    pair.reach(State.LIVE)
    assert pair.client.remote_static == RELAY_KEYS.public
    assert pair.server.handshake_hash == pair.client.handshake_hash
    with pytest.raises(PeerFault) as refused:
        ServerSession(*own, others=[own]).receive(open_pair(pattern).client.open())
    assert refused.value.close_code is CloseCode.HANDSHAKE_FAILED


def test_xx_without_a_key_shows_whom_it_met() -> None:
    """The first connection of all learns the relay's key, for the caller to compare."""
    pair = open_pair(Pattern.XX, relay_key=None).reach(State.LIVE)
    assert pair.client.remote_static == RELAY_KEYS.public


def test_ik_without_a_key_is_our_bug() -> None:
    """IK cannot be spoken to a stranger."""
    with pytest.raises(LocalMisuse, match="needs the relay's static key"):
        open_pair(Pattern.IK, relay_key=None)


@pytest.mark.parametrize("version", [PROTOCOL_VERSION + 1, 255])
@pytest.mark.parametrize("pattern", Pattern)
def test_another_version_is_told_so(pattern: Pattern, version: int) -> None:
    """A client of the future learns that it is the version, not its ticket or its keys."""
    pair = open_pair(pattern, hello=f.Hello(version, "ticket", x.ALICE_PHONE))
    with pytest.raises(PeerFault, match="version") as refused:
        pair.exchange()
    assert refused.value.close_code is CloseCode.UNSUPPORTED_VERSION
    assert (pair.server.state, pair.server.hello) == (State.CLOSED, None)


class Secret(NamedTuple):
    """An ML-KEM secret for the relay, and what gives it to the relay."""

    psk: bytes
    ciphertext: bytes


SECRET = Secret(*encapsulate_mlkem(RELAY_KEM.public))


@pytest.mark.parametrize("pattern", [Pattern.XXpsk3, Pattern.IKpsk1])
@pytest.mark.parametrize("at", [1, 1_088])
def test_a_secret_cannot_be_exchanged_on_the_way(pattern: Pattern, at: int) -> None:
    """One changed bit of the KEM ciphertext ends the handshake before Hello can be read."""
    pair = open_pair(pattern)
    first = bytearray(pair.client.open())
    first[at] ^= 1
    with pytest.raises(PeerFault) as refused:  # noqa: PT012 - where it fails depends on the pattern
        pair.server.receive(bytes(first))
        pair.client.receive(took(pair.server.take_reply()))
        pair.server.receive(took(pair.client.take_reply()))
    assert refused.value.close_code is CloseCode.HANDSHAKE_FAILED
    assert pair.server.hello is None


@pytest.mark.parametrize("pattern", [Pattern.XXpsk3, Pattern.IKpsk1])
def test_a_relay_with_another_kem_key_never_sees_the_ticket(pattern: Pattern) -> None:
    """Hello is read by nobody who has the relay's static key alone, as one has who can compute it one day."""
    client, thief = open_pair(pattern).client, ServerSession(RELAY_KEYS, MlKemKeyPair.generate())
    with pytest.raises(PeerFault):  # noqa: PT012 - IK fails at the first message, XX at the last
        thief.receive(client.open())
        client.receive(took(thief.take_reply()))
        thief.receive(took(client.take_reply()))
    assert thief.hello is None


def test_a_relay_without_a_kem_key_refuses_the_patterns_that_need_one() -> None:
    """And the first message must hold the whole ciphertext."""
    for server, first, code in (
        (ServerSession(RELAY_KEYS), open_pair(Pattern.IKpsk1).client.open(), CloseCode.UNSUPPORTED_HANDSHAKE),
        (ServerSession(RELAY_KEYS, RELAY_KEM), bytes((Pattern.IKpsk1,)) + bytes(1_087), CloseCode.HANDSHAKE_FAILED),
    ):
        with pytest.raises(PeerFault, match=r"KEM|post-quantum") as refused:
            server.receive(first)
        assert refused.value.close_code is code


def test_a_client_uses_a_kem_key_where_the_pattern_does() -> None:
    """To leave it out, or to give one in vain, is our bug; a key that is none is the peer's fault."""
    for pattern, kem in ((Pattern.IKpsk1, None), (Pattern.IK, RELAY_KEM.public)):
        with pytest.raises(LocalMisuse, match="post-quantum"):
            ClientSession(CLIENT_KEYS, x.HELLO, relay_key=RELAY_KEYS.public, pattern=pattern, relay_kem=kem)
    with pytest.raises(PeerFault, match="no ML-KEM-768 key"):
        ClientSession(
            CLIENT_KEYS, x.HELLO, relay_key=RELAY_KEYS.public, pattern=Pattern.IKpsk1, relay_kem=b"\xff" * 1_184
        )


def raw_client(pattern: Pattern) -> Handshake:
    """A client's handshake without the session around it, to say what a session never would."""
    rs = RELAY_KEYS.public if pattern.one_round_trip else None
    bound = (RELAY_KEM.public, SECRET.ciphertext) if pattern.post_quantum else ()
    psks = (SECRET.psk,) if pattern.post_quantum else ()
    name = noise_name(pattern)
    return Handshake(name, initiator=True, prologue=prologue(pattern, *bound), s=CLIENT_KEYS, rs=rs, psks=psks)


@pytest.mark.parametrize("pattern", Pattern)
@pytest.mark.parametrize("payload", [b"", b"\xc0", b"\x93\x01", b"x" * 5_000])
def test_a_payload_that_is_no_hello_is_told_so(pattern: Pattern, payload: bytes) -> None:
    """Keys alone are not enough: who does not say Hello is closed with bad-hello, and not told to look at the keys."""
    server, client = ServerSession(RELAY_KEYS, RELAY_KEM), raw_client(pattern)
    first = client.write_message(payload if pattern.one_round_trip else b"")
    with pytest.raises(PeerFault) as refused:  # noqa: PT012 - the payload travels in another message in each pattern
        server.receive(bytes((pattern,)) + (SECRET.ciphertext if pattern.post_quantum else b"") + first)
        client.read_message(took(server.take_reply()))
        server.receive(client.write_message(payload))
    assert refused.value.close_code is CloseCode.BAD_HELLO
    assert server.state is State.CLOSED


def test_a_payload_in_the_clear_is_refused() -> None:
    """The first message of XX is neither secret nor authentic, so it may not say anything."""
    server = ServerSession(RELAY_KEYS)
    with pytest.raises(PeerFault, match="may not have"):
        server.receive(bytes((Pattern.XX,)) + raw_client(Pattern.XX).write_message(b"hello"))
    assert server.state is State.CLOSED


@pytest.mark.parametrize("pattern", Pattern)
def test_a_relay_has_nothing_to_say_in_the_handshake(pattern: Pattern) -> None:
    """What a relay puts into its handshake message is refused: nobody would have looked at it."""
    client = open_pair(pattern).client
    at = 1 + (MLKEM_CIPHERTEXT_BYTES if pattern.post_quantum else 0)
    ciphertext, first = (opening := client.open())[1:at], opening[at:]
    psks = (RELAY_KEM.decapsulate(ciphertext),) if ciphertext else ()
    bound = (RELAY_KEM.public, ciphertext) if ciphertext else ()
    responder = Handshake(
        noise_name(pattern), initiator=False, prologue=prologue(pattern, *bound), s=RELAY_KEYS, psks=psks
    )
    responder.read_message(first)
    with pytest.raises(PeerFault, match="may not have"):
        client.receive(responder.write_message(b"advertisement"))
    assert (client.state, client.take_reply()) == (State.CLOSED, None)


def test_nothing_is_received_between_hello_and_welcome() -> None:
    """A client that does not wait for Welcome breaks the protocol: its ticket is not judged yet."""
    pair = open_pair().reach(State.GREETING)
    with pytest.raises(PeerFault, match="while greeting"):
        pair.server.receive(hold(pair.client, x.CLIENT[0]))
    assert pair.server.state is State.CLOSED


@pytest.mark.parametrize(("state", "kind"), CLIENT_PAIRS, ids=name_of)
def test_what_a_client_may_send(state: State, kind: type[Struct]) -> None:
    """A client sends what its table allows, and nothing else: the rest is our bug and changes nothing."""
    client = open_pair().reach(state).client
    if (state, kind) in CLIENT_FRAMES:
        client.send(x.example_of(kind))
        assert client.state is CLIENT_FRAMES[state, kind]
    else:
        with pytest.raises(LocalMisuse):
            client.send(x.example_of(kind))
        assert client.state is state


@pytest.mark.parametrize(("state", "kind"), SERVER_PAIRS, ids=name_of)
def test_what_a_relay_may_send(state: State, kind: type[Struct]) -> None:
    """A relay sends what its table allows, and nothing else."""
    server = open_pair().reach(state).server
    if (state, kind) in SERVER_FRAMES:
        server.send(x.example_of(kind))
        assert server.state is SERVER_FRAMES[state, kind]
    else:
        with pytest.raises(LocalMisuse):
            server.send(x.example_of(kind))
        assert server.state is state


@pytest.mark.parametrize(("state", "kind"), [pair for pair in CLIENT_PAIRS if pair[0] in TALKING], ids=name_of)
def test_what_a_relay_takes(state: State, kind: type[Struct]) -> None:
    """A relay takes what the client's table allows; anything else closes with protocol-error."""
    pair = open_pair().reach(state)
    sealed = hold(pair.client, x.example_of(kind))
    if (state, kind) in CLIENT_FRAMES:
        assert pair.server.receive(sealed) == [x.example_of(kind)]
        assert pair.server.state is CLIENT_FRAMES[state, kind]
    else:
        with pytest.raises(PeerFault) as refused:
            pair.server.receive(sealed)
        assert refused.value.close_code is CloseCode.PROTOCOL_ERROR
        assert pair.server.state is State.CLOSED


@pytest.mark.parametrize(("state", "kind"), [pair for pair in SERVER_PAIRS if pair[0] in TALKING], ids=name_of)
def test_what_a_client_takes(state: State, kind: type[Struct]) -> None:
    """A client takes what the relay's table allows; anything else is the relay's fault."""
    pair = open_pair().reach(state)
    sealed = hold(pair.server, x.example_of(kind))
    if (state, kind) in SERVER_FRAMES:
        assert pair.client.receive(sealed) == [x.example_of(kind)]
        assert pair.client.state is SERVER_FRAMES[state, kind]
    else:
        with pytest.raises(PeerFault, match=f"may not be received while {state.value}"):
            pair.client.receive(sealed)
        assert pair.client.state is State.CLOSED


def test_the_tables_know_every_frame() -> None:
    """A frame that is in no row could never be said: adding one without its row turns this red."""
    assert {kind for _, kind in CLIENT_FRAMES} == set(x.CLIENT_KINDS)
    assert {kind for _, kind in SERVER_FRAMES} == set(x.SERVER_KINDS)


def test_nothing_leaves_the_last_state() -> None:
    """No table leads out of CLOSED or into HANDSHAKE, so a session ends once."""
    for table in (CLIENT_FRAMES, SERVER_FRAMES):
        assert not {State.CLOSED, State.HANDSHAKE} & {state for state, _ in table}
        assert not {State.CLOSED, State.HANDSHAKE} & set(table.values())


def test_a_frame_out_of_place_takes_its_whole_message_with_it() -> None:
    """A message is taken as a whole: what stood before the forbidden frame is not handed over either."""
    pair = open_pair().reach(State.LIVE)
    packed = codec.pack([codec.encode_frame(frame) for frame in (x.SERVER[3], x.WELCOME)])
    with pytest.raises(PeerFault, match="welcome may not be received while live"):
        pair.client.receive(pair.server.seal(packed))


def test_frames_encoded_beforehand_walk_the_same_table() -> None:
    """What is encoded once for many peers is checked for each, and arrives the same."""
    pair = open_pair().reach(State.LIVE)
    once = [(type(frame), codec.encode_frame(frame)) for frame in x.SERVER[3:6]]
    assert pair.client.receive(pair.server.send_encoded(once)) == list(x.SERVER[3:6])
    with pytest.raises(LocalMisuse, match="welcome may not be sent while live"):
        pair.server.send_encoded([(f.Welcome, codec.encode_frame(x.WELCOME))])


@pytest.mark.parametrize("state", [State.HANDSHAKE, State.CLOSED])
def test_nothing_is_sealed_without_keys_or_after_the_end(state: State) -> None:
    """Sealing and unsealing outside of a running session is our bug."""
    for session in open_pair().reach(state):
        with pytest.raises(LocalMisuse):
            session.seal(b"\x90")
        with pytest.raises(LocalMisuse):
            session.unseal(b"\x90")


def test_what_is_only_counted_is_not_decoded() -> None:
    """Whoever unseals a message gets its packed plaintext, and hears of one that was tampered with."""
    pair = open_pair().reach(State.LIVE)
    assert pair.client.unseal(pair.server.seal(b"not a frame")) == b"not a frame"
    with pytest.raises(PeerFault):
        pair.client.unseal(bytes(64))


def test_a_closed_session_takes_nothing() -> None:
    """After the end, also an honest message is refused."""
    pair = open_pair().reach(State.LIVE)
    from_server, from_client = pair.server.send(x.SERVER[3]), pair.client.send(x.CLIENT[0])
    pair.reach(State.CLOSED)
    with pytest.raises(PeerFault, match="while closed"):
        pair.client.receive(from_server)
    with pytest.raises(PeerFault, match="while closed"):
        pair.server.receive(from_client)
