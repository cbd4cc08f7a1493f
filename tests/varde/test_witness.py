"""A witness keeps to C2SP tlog-witness: it never cosigns two histories, however it is asked, and remembers on disk."""

import threading
from http import HTTPStatus
from pathlib import Path

import pytest

from tests.contract.transparency.logs import KEYS, LEAVES, NOW, ORIGIN, SIGNERS, checkpoint, note
from varde.errors import StoreDamaged, VardeError
from varde.witness import KEY, Answer, Witness
from varde_contract.transparency.checkpoint import log_signers, sign_checkpoint, signed_time
from varde_contract.transparency.merkle import leaf_hash, proof_ranges, root_of
from varde_contract.transparency.note import Note, parse_signatures
from varde_contract.transparency.policy import parse_policy
from varde_contract.transparency.proof import AddCheckpoint

POLICY = parse_policy("\n".join([*(f"log {key}" for key in KEYS), "quorum none"]))
FORKED = [leaf_hash(b"forked"), *LEAVES[1:]]


@pytest.fixture
def witness(tmp_path: Path) -> Witness:
    """A new one."""
    return Witness(tmp_path / "w", POLICY, "witness.example/new")


def ask(witness: Witness, old: int, size: int, leaves: list[bytes] = LEAVES, signed: Note | None = None) -> Answer:
    """Ask for a cosignature, with the proof that belongs to these sizes."""
    proof = (
        tuple(root_of(leaves[each.start : each.stop]) for each in proof_ranges(0, old, size)) if 0 < old <= size else ()
    )
    body = AddCheckpoint(old, proof, signed or note(size, leaves)).encode()
    return witness.add_checkpoint(body, NOW)


def test_a_log_that_grows_is_cosigned(witness: Witness) -> None:
    """By both keys, at the time it is; also the same size again."""
    old = 0
    for size in (0, 0, 3, 3, 4, 9, 100):
        answer = ask(witness, old, size)
        assert answer.status == HTTPStatus.OK
        cosigned = note(size).signed(parse_signatures(answer.body))
        assert [signed_time(cosigned, signer.key) for signer in witness.signers] == [NOW, NOW]
        old = size


def test_it_remembers_over_a_restart(witness: Witness, tmp_path: Path) -> None:
    """Its key, its name, and what it has cosigned; who asks with another size is told the right one."""
    ask(witness, 0, 7)
    again = Witness(tmp_path / "w", POLICY)
    assert [signer.key for signer in again.signers] == [signer.key for signer in witness.signers]
    assert ask(again, 0, 9) == Answer(HTTPStatus.CONFLICT, "7\n", "text/x.tlog.size")
    assert ask(again, 7, 9).status == HTTPStatus.OK
    assert all(path.stat().st_mode & 0o077 == 0 for path in (tmp_path / "w").iterdir())


def test_two_histories_are_never_cosigned(witness: Witness) -> None:
    """A fork, a rollback, another tree of the same size: each is refused with its status, and nothing is remembered."""
    ask(witness, 0, 7)
    assert ask(witness, 7, 7, FORKED).status == HTTPStatus.CONFLICT
    assert ask(witness, 7, 9, FORKED).status == HTTPStatus.UNPROCESSABLE_ENTITY
    assert ask(witness, 5, 5).status == HTTPStatus.CONFLICT
    assert ask(witness, 7, 5).status == HTTPStatus.BAD_REQUEST
    body = AddCheckpoint(7, (bytes(32),), note(9)).encode()
    assert witness.add_checkpoint(body, NOW).status == HTTPStatus.UNPROCESSABLE_ENTITY
    assert ask(witness, 7, 9).status == HTTPStatus.OK


def test_a_first_checkpoint_comes_without_a_proof(witness: Witness) -> None:
    """Of nothing, nothing is proven."""
    assert witness.add_checkpoint(AddCheckpoint(0, (bytes(32),), note(9)).encode(), NOW).status == 422
    assert ask(witness, 0, 9).status == HTTPStatus.OK


def test_only_known_logs_are_cosigned(witness: Witness) -> None:
    """Another log, another key, something else than a request."""
    other = sign_checkpoint(checkpoint(3)._replace(origin="other.example"), SIGNERS, NOW)
    assert ask(witness, 0, 3, signed=other).status == HTTPStatus.NOT_FOUND
    stranger = sign_checkpoint(checkpoint(3), log_signers(ORIGIN, b"x" * 32, b"y" * 32), NOW)
    assert ask(witness, 0, 3, signed=stranger).status == HTTPStatus.FORBIDDEN
    forged = note(3)._replace(text=checkpoint(4).text())
    assert ask(witness, 0, 4, signed=forged).status == HTTPStatus.FORBIDDEN
    assert witness.add_checkpoint(b"hello", NOW).status == HTTPStatus.BAD_REQUEST
    assert witness.add_checkpoint(AddCheckpoint(0, (), Note("no\n", note(3).signatures)).encode(), NOW).status == 400
    alone = note(3, signers=SIGNERS[:1])
    assert ask(witness, 0, 3, signed=alone).status == HTTPStatus.OK


def test_of_two_that_ask_at_once_one_is_late(witness: Witness) -> None:
    """The smaller size is not stored over the larger one."""
    answers: list[Answer] = []
    threads = [
        threading.Thread(target=lambda size=size: answers.append(ask(witness, 0, size))) for size in range(1, 20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.status for answer in answers) == [200, *[409] * 18]


def test_damage_is_told(witness: Witness, tmp_path: Path) -> None:
    """A memory that cannot be read is not taken for none; a new witness needs a name."""
    ask(witness, 0, 7)
    (memory,) = (tmp_path / "w").glob("*.cosigned")
    for text in ("", "7", "7 00", "x " + "00" * 32):
        memory.write_text(text)
        with pytest.raises(StoreDamaged):
            ask(witness, 7, 9)
    for text in ("", "name\nAAAA\nAAAA\n", "name\n!\n!\n"):
        (tmp_path / "w" / KEY).write_text(text)
        with pytest.raises(StoreDamaged):
            Witness(tmp_path / "w", POLICY)
    for name in (None, "", "two words", "a+b"):
        with pytest.raises(VardeError, match="needs a name"):
            Witness(tmp_path / "other", POLICY, name)
