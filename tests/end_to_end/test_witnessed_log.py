"""A real `varde witness`, a real server, and a client whose owner demands that the witness has cosigned the log."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import trio

import varde
from tests.doubles.witness import STRANGER
from tests.end_to_end.stack import ROOT, TIMEOUT_SECONDS, Stack, connected, open_dm, people, running_stack
from tests.postgres import database

pytestmark = [pytest.mark.xdist_group("end-to-end"), pytest.mark.timeout(300)]
PATIENCE = 120
"""Seconds: two starts of a worker, and a lease that is taken over, on a machine that does much else."""


@contextmanager
def running_witness(home: Path, policy: Path) -> Iterator[tuple[str, list[str]]]:
    """Run a witness; return its URL and its keys, as it prints them."""
    command = ("-m", "varde_cli", "witness", "--home", str(home), "--policy", str(policy), "--bind", "127.0.0.1:0")
    process = subprocess.Popen(
        (sys.executable, *command, "--name", "witness.example/varde"), cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        *keys, listening = (process.stdout.readline().split() for _ in range(3))
        yield listening[-1], [key for _, _, key in keys]
    finally:
        process.terminate()
        process.wait(TIMEOUT_SECONDS)
        process.stdout.close()


@pytest.fixture
def own_stack(postgres_url: str, migrated_template: str, tmp_path: Path) -> Iterator[Stack]:
    """A system of one's own: everybody else's has no log."""
    (tmp_path / "server").mkdir()
    with database(postgres_url, migrated_template) as url, running_stack(tmp_path / "server", url) as stack:
        yield stack


async def wait_shown(http: httpx.AsyncClient, path: str) -> None:
    """Return when the API shows it: worker and witness are other processes, and tell nobody."""
    with trio.fail_after(PATIENCE):
        while (await http.get(path)).status_code != httpx.codes.OK:  # noqa: ASYNC110
            await trio.sleep(0.05)  # of real time


async def test_a_log_is_used_once_its_witness_has_cosigned(own_stack: Stack, tmp_path: Path) -> None:
    """Signed by the log alone it is refused; with the witness's cosignature it is taken; with another's it is not."""
    worker, policy = own_stack.worker(), tmp_path / "log.policy"
    worker.start()
    async with httpx.AsyncClient(base_url=own_stack.api_url) as http:
        try:
            alice, bob = await people(own_stack, tmp_path, "alice", "bob")
            await wait_shown(http, "/v1/log/checkpoint")
            log = [f"log {key}" for key in (await http.get("/v1/log/key")).text.split()]
            policy.write_text("\n".join([*log, "quorum none\n"]), "utf-8")
            with running_witness(tmp_path / "witness", policy) as (url, keys):

                def demanding(key: str) -> str:
                    return "\n".join([*log, f"witness w {key} {url}", "quorum w\n"])

                async with connected((alice, "laptop"), (bob, "laptop"), seconds=PATIENCE) as (hers, his):
                    conversation = await open_dm(hers, his)
                    hers.set_log_policy(demanding(keys[0]))
                    with pytest.raises(varde.UnprovenList, match="cosigned"):
                        await conversation.send("too early")

                    policy.write_text(demanding(keys[0]), "utf-8")
                    worker.stop()
                    worker.change(VARDE_LOG_POLICY=str(policy))
                    worker.start()
                    await wait_shown(http, "/v1/log/checkpoint/cosigned")
                    await conversation.send("cosigned")
                    assert (await anext(aiter(his.conversation(conversation.id)))).text == "cosigned"

                    hers.set_log_policy(demanding(str(STRANGER.key)))
                    with pytest.raises(varde.UnprovenList, match="cosigned"):
                        await conversation.send("cosigned by somebody else")
        finally:
            worker.stop()
