"""Notes, checkpoints, proofs and policies as text: what is written is read, and nothing else is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.contract.transparency.logs import KEYS, LEAVES, NOW, ORIGIN, PQ_WITNESS, SIGNERS, WITNESS, checkpoint, note
from varde_contract.errors import PeerFault
from varde_contract.transparency.checkpoint import (
    Checkpoint,
    Ed25519Signer,
    log_signers,
    open_checkpoint,
    sign_checkpoint,
    signed_time,
)
from varde_contract.transparency.entry import Entry, join_entries, split_entries
from varde_contract.transparency.note import (
    NOTE_BYTES,
    Note,
    NoteSignature,
    SignatureType,
    VerifierKey,
    parse_note,
)
from varde_contract.transparency.policy import Policy, parse_policy
from varde_contract.transparency.proof import AddCheckpoint, InclusionProof

GO_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_NOTE = """\
If you think cryptography is the answer to your problem,
then you don't know what your problem is.

— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=
"""
"""The example of golang.org/x/mod/sumdb/note."""
SPECIFIED = (
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
    "— example.com/behind-the-sofa "
    "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
    "— witness.example.com/w1 "
    "jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
)
"""The example of C2SP tlog-cosignature."""


def test_a_note_of_another_implementation_verifies() -> None:
    """Key, text and signature of the Go library."""
    key, found = VerifierKey.parse(GO_KEY), parse_note(GO_NOTE.encode())
    assert str(key) == GO_KEY
    assert signed_time(found, key) == 0
    assert found.encode() == GO_NOTE.encode()
    with pytest.raises(PeerFault, match="does not verify"):
        signed_time(found._replace(text=found.text.replace("answer", "question")), key)


def test_the_example_of_the_specification_is_read() -> None:
    """With both signature lines."""
    found = parse_note(SPECIFIED.encode())
    assert Checkpoint.parse(found.text)[:2] == ("example.com/behind-the-sofa", 20_852_163)
    assert [len(each.signature) for each in found.signatures] == [64, 72]
    assert found.encode() == SPECIFIED.encode()


def test_a_checkpoint_needs_every_key_of_its_log() -> None:
    """Both lines; a signature of one alone, of another origin or over another tree is none."""
    opened = open_checkpoint(note(7).encode(), KEYS)
    assert opened.checkpoint == checkpoint(7)
    assert opened.time == NOW
    for signer in SIGNERS:
        with pytest.raises(PeerFault, match="has not signed"):
            open_checkpoint(note(7, signers=(signer,)).encode(), KEYS)
    with pytest.raises(PeerFault, match="has not signed"):
        open_checkpoint(note(7).encode(), ())
    for key in KEYS:
        with pytest.raises(PeerFault, match="does not verify"):
            signed_time(note(7)._replace(text=checkpoint(8).text()), key)
    strangers = log_signers(ORIGIN, b"x" * 32, b"m" * 32)
    with pytest.raises(PeerFault, match="has not signed"):
        open_checkpoint(note(7, signers=strangers).encode(), KEYS)
    other = sign_checkpoint(checkpoint(7)._replace(origin="other.example"), SIGNERS, NOW)
    with pytest.raises(PeerFault, match="has not signed"):
        open_checkpoint(other.encode(), KEYS)


def test_the_time_is_signed() -> None:
    """Where a kind of signature has one."""
    cosigned = note(7).signed([WITNESS.sign(checkpoint(7), NOW + 1), PQ_WITNESS.sign(checkpoint(7), NOW + 2)])
    assert [signed_time(cosigned, each.key) for each in (*SIGNERS, WITNESS, PQ_WITNESS)] == [0, NOW, NOW + 1, NOW + 2]
    for signer in (SIGNERS[1], WITNESS, PQ_WITNESS):
        line = cosigned.signature_of(signer.key)
        assert line is not None
        moved = NoteSignature(signer.key.name, signer.key.id, (NOW + 9).to_bytes(8) + line[8:])
        with pytest.raises(PeerFault, match="does not verify"):
            signed_time(cosigned.signed([moved]), signer.key)
    assert len(cosigned.signed([WITNESS.sign(checkpoint(7), NOW + 5)]).signatures) == len(cosigned.signatures)
    assert len(cosigned.encode()) < NOTE_BYTES


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"text\n",
        b"text\n\n",
        b"text\n\n\xe2\x80\x94 name AAAAAAA=",  # no end of the line
        b"text\n\n\xe2\x80\x94 name AAAA\n",  # no signature after the key id
        b"text\n\n\xe2\x80\x94 name AAAAAAB=\n",  # bits after the end
        b"text\n\n\xe2\x80\x94 na+me AAAAAAA=\n",
        b"text\n\n\xe2\x80\x94 na me AAAAAAA=\n",
        b"text\n\n\xe2\x80\x94  AAAAAAA=\n",
        b"text\n\n- name AAAAAAA=\n",
        b"te\xff\n\n\xe2\x80\x94 name AAAAAAA=\n",
        b"te\tt\n\n\xe2\x80\x94 name AAAAAAA=\n",
        b"te\rt\n\n\xe2\x80\x94 name AAAAAAA=\n",
        b"text\n\n" + b"\xe2\x80\x94 name AAAAAAA=\n" * 65,
        b"text" * NOTE_BYTES + b"\n\n\xe2\x80\x94 name AAAAAAA=\n",
    ],
)
def test_what_is_no_note_is_refused(broken: bytes) -> None:
    """One spelling for each note."""
    with pytest.raises(PeerFault):
        parse_note(broken)


@given(encoded=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_no_bytes_crash_a_reader(encoded: bytes) -> None:
    """PeerFault or a note that is written as it was read."""
    for parse in (parse_note, InclusionProof.parse, AddCheckpoint.parse):
        try:
            found = parse(encoded)
        except PeerFault:
            continue
        assert not isinstance(found, Note) or found.encode() == encoded


@pytest.mark.parametrize(
    "text",
    [
        "",
        "origin\n",
        "origin\n7\n",
        f"origin\n07\n{'A' * 43}=\n",
        f"origin\n-7\n{'A' * 43}=\n",
        f"origin\n\u0667\n{'A' * 43}=\n",
        f"origin\n{1 << 63}\n{'A' * 43}=\n",
        "origin\n7\nAAAA\n",
        f"\n7\n{'A' * 43}=\n",
        f"origin\n7\n{'A' * 43}=\n\nextension\n",
        f"{'o' * 256}\n7\n{'A' * 43}=\n",
    ],
)
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    """Origin, size and root, each as it would be written."""
    with pytest.raises(PeerFault):
        Checkpoint.parse(text)
    assert Checkpoint.parse(f"origin\n7\n{'A' * 43}=\nextension\n").size == 7


@pytest.mark.parametrize(
    "vkey", ["", "name", "name+c74f20a3+AR==", GO_KEY.replace("c74", "c75"), GO_KEY.replace("+AR", "+AA")]
)
def test_what_is_no_vkey_is_refused(vkey: str) -> None:
    """Also one whose parts do not belong together."""
    with pytest.raises(PeerFault):
        VerifierKey.parse(vkey)
    assert all(VerifierKey.parse(str(key)) == key for key in (*KEYS, WITNESS.key, PQ_WITNESS.key))


def test_a_proof_is_read_as_it_was_written() -> None:
    """With hashes and without; extra data is passed over."""
    for hashes in ((), tuple(LEAVES[:63])):
        proof = InclusionProof(7, hashes, note(9))
        assert InclusionProof.parse(proof.encode()) == proof
        asked = AddCheckpoint(7, hashes, note(9))
        assert AddCheckpoint.parse(asked.encode()) == asked
    extra = proof.encode().replace(b"index", b"extra AAAA\nindex", 1)
    assert InclusionProof.parse(extra) == proof
    for broken in (
        InclusionProof(7, tuple(LEAVES[:64]), note(9)).encode(),
        proof.encode().replace(b"proof@v1", b"proof@v2"),
        proof.encode().replace(b"index 7", b"index 07"),
        proof.encode().replace(b"index 7", b"place 7"),
        proof.encode().replace(b"\n\n", b"\nAAAA\n\n", 1),
        b"c2sp.org/tlog-proof@v1\nindex 7\n",
        "c2sp.org/tlog-proof@v1\nindex \u0667\n\n".encode() + note(9).encode(),
    ):
        with pytest.raises(PeerFault):
            InclusionProof.parse(broken)
    with pytest.raises(PeerFault):
        AddCheckpoint.parse(proof.encode())


def policy(*more: str) -> Policy:
    """Two witnesses, and what a test adds."""
    lines = [*(f"log {key} https://log.example" for key in KEYS)]
    lines += [f"witness one {WITNESS.key} https://one.example", f"witness\ttwo  {PQ_WITNESS.key} ", "  # remark", ""]
    return parse_policy("\n".join([*lines, *more, ""]))


@pytest.mark.parametrize(
    ("lines", "needed"),
    [
        (("quorum none",), 0),
        (("quorum one",), 1),
        (("group g any one two", "quorum g"), 1),
        (("group g 1 one two", "quorum g"), 1),
        (("group g all one two", "quorum g"), 2),
        (("group a any one", "group b all two", "group c 2 a b", "quorum c"), 2),
    ],
)
def test_a_quorum_decides(lines: tuple[str, ...], needed: int) -> None:
    """As many witnesses as it takes, and as late as is asked."""
    found, bare = policy(*lines), note(7)
    assert found.log_keys(ORIGIN) == KEYS
    assert found.log_keys("other") == ()
    assert found.witnesses["one"].url == "https://one.example"
    one, both = bare.signed([WITNESS.sign(checkpoint(7), NOW)]), [WITNESS.sign(checkpoint(7), NOW)]
    two = bare.signed([*both, PQ_WITNESS.sign(checkpoint(7), NOW)])
    assert [found.accepts(each) for each in (bare, one, two)] == [needed <= 0, needed <= 1, True]
    assert found.accepts(two, lambda time: time > NOW) == (needed == 0)


@pytest.mark.parametrize(
    "lines",
    [
        (),
        ("quorum three",),
        ("quorum one", "quorum two"),
        ("quorum",),
        ("group g 3 one two", "quorum g"),
        ("group g 0 one two", "quorum g"),
        ("group g some one two", "quorum g"),
        ("group g any", "quorum one"),
        ("group g any one one", "quorum g"),
        ("group g any one", "group h any one two", "quorum h"),
        ("group one any two", "quorum one"),
        ("group none any two", "quorum one"),
        ("group g any h", "quorum g"),
        (f"witness three {WITNESS.key}", "quorum one"),
        (f"witness three {KEYS[0]}", "quorum one"),
        (f"log {KEYS[0]}", "quorum one"),
        (f"log {WITNESS.key}", "quorum one"),
        ("trust everybody", "quorum one"),
    ],
)
def test_a_policy_that_is_not_understood_is_refused(lines: tuple[str, ...]) -> None:
    """Whole: half a policy would trust whom nobody meant."""
    with pytest.raises(PeerFault):
        policy(*lines)


def test_entries_are_56_bytes() -> None:
    """Account, number, digest; a bundle has the length before each."""
    entry = Entry.parse(bytes(range(56)))
    assert entry.encode() == bytes(range(56))
    bundle = join_entries([entry, entry])
    assert len(bundle) == 2 * 58
    assert split_entries(bundle) == [entry, entry]
    for broken in (bundle[:-1], bundle[1:], b"\0\x39" + bundle[2:]):
        with pytest.raises(PeerFault):
            split_entries(broken)
    with pytest.raises(PeerFault):
        Entry.parse(bytes(55))


def test_signatures_of_a_witness_do_not_pass_for_a_logs() -> None:
    """The same private key as log and as witness has two ids and two messages."""
    twin = Ed25519Signer(ORIGIN, b"e" * 32, SignatureType.COSIGNATURE_ED25519)
    assert twin.key.public == KEYS[0].public
    assert twin.key.id != KEYS[0].id
    forged = NoteSignature(ORIGIN, KEYS[0].id, twin.sign(checkpoint(7), NOW).signature[8:])
    with pytest.raises(PeerFault, match="does not verify"):
        signed_time(note(7).signed([forged]), KEYS[0])
