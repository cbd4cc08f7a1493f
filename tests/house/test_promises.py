"""The contract demands its tests: every frame, refusal and close code is met by name. Refuses to judge how well."""

import re
from collections.abc import Iterable
from typing import get_args

from contract import frames
from contract.closing import CloseCode
from contract.refusals import RefusalCode
from tests.house import tree


def without_a_test(kind: str, words: Iterable[str]) -> list[str]:
    """The words that no test function carries: `test_<kind>_<word>`, or with more behind it."""
    names = {function.name for _, function in tree.tests()}
    wanted = {f"test_{kind}_{re.sub('[^a-z]', '_', word)}" for word in words}
    return sorted(each for each in wanted if not any(name == each or name.startswith(f"{each}_") for name in names))


def test_every_frame_has_a_test() -> None:
    """Whoever adds a frame writes a test called after its tag, for instance test_frame_msg_send_is_stored_once."""
    both = (*get_args(frames.ClientFrame), *get_args(frames.ServerFrame))
    tree.expect_none(without_a_test("frame", {"hello", *map(frames.tag_of, both)}), "frames without a test")


def test_every_refusal_has_a_test() -> None:
    """Whoever adds a refusal writes a test that provokes it, for instance test_refusal_stale_devices."""
    tree.expect_none(without_a_test("refusal", RefusalCode), "refusals without a test that provokes them")


def test_every_close_code_has_a_test() -> None:
    """Whoever adds a close code writes a test that provokes it, for instance test_close_bad_ticket."""
    labels = [code.label for code in CloseCode]
    tree.expect_none(without_a_test("close", labels), "close codes without a test that provokes them")
