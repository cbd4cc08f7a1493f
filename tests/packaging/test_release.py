"""A release as `make release` makes it, and the two commands with which anybody verifies it."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.tree import ROOT
from tests.packaging.environments import read_locked
from tests.system import require

pytestmark = [pytest.mark.xdist_group("distributions"), pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release that is signed with a throw-away key, and the file that says whose signature counts."""
    require("ssh-keygen", "openssh-client")
    folder = tmp_path_factory.mktemp("release")
    key = folder / "key"
    subprocess.run(("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", key), check=True)
    made = folder / "made"
    subprocess.run((sys.executable, "packages/release.py", made, "--key", key), cwd=ROOT, check=True)
    (made / "allowed_signers").write_text(f"release@varde {key.with_suffix('.pub').read_text()}")
    return made


def verify(folder: Path) -> list[int]:
    """Run the commands of the document; return their exit codes."""
    document = (ROOT / "docs/operations/release.md").read_text(encoding="utf-8")
    commands = document.split("## Verify it")[1].split("```sh\n")[1].split("```")[0].splitlines()
    assert [shlex.split(command)[0] for command in commands] == ["ssh-keygen", "sha256sum"]
    return [
        subprocess.run(("sh", "-c", command), cwd=folder, check=False, capture_output=True).returncode
        for command in commands
    ]


def test_a_release_is_verified(release: Path) -> None:
    """By the commands of the document, as they stand there."""
    assert verify(release) == [0, 0]


def test_what_was_changed_is_seen(release: Path) -> None:
    """A file, or the list of files with it; nobody else's key counts."""
    sums, sbom = release / "SHA256SUMS", release / "varde.cdx.json"
    kept, signers = {path: path.read_bytes() for path in (sums, sbom)}, release / "allowed_signers"
    sbom.write_bytes(kept[sbom] + b" ")
    assert verify(release)[0] == 0
    assert verify(release)[1] != 0
    sums.write_bytes(kept[sums].replace(b"0", b"1", 1))
    assert verify(release)[0] != 0
    for path, content in kept.items():
        path.write_bytes(content)
    ours = signers.read_text()
    subprocess.run(("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", release.parent / "other"), check=True)
    signers.write_text(f"release@varde {(release.parent / 'other.pub').read_text()}")
    assert verify(release)[0] != 0
    signers.write_text(ours)
    assert verify(release) == [0, 0]


def test_it_is_the_same_wherever_it_is_made(release: Path, wheels: dict[str, Path]) -> None:
    """Wheels that were built elsewhere have the same bytes, and no SBOM names a time or a place."""
    for wheel in wheels.values():
        assert (release / wheel.name).read_bytes() == wheel.read_bytes()
    for sbom in release.glob("*.cdx.json"):
        text = sbom.read_text()
        assert "timestamp" not in json.loads(text)["metadata"]
        assert str(ROOT) not in text


@pytest.mark.parametrize(("name", "locked"), [("varde", "client.txt"), ("varde-server", "runtime.txt")])
def test_the_sbom_names_what_is_installed(release: Path, name: str, locked: str) -> None:
    """Each locked requirement with its version, and nothing else."""
    sbom = json.loads((release / f"{name}.cdx.json").read_text())
    assert (sbom["bomFormat"], sbom["specVersion"]) == ("CycloneDX", "1.6")
    wanted = {line.split()[0] for line in read_locked(locked).splitlines() if line[:1].isalpha()}
    assert {f"{each['name']}=={each['version']}" for each in sbom["components"]} == wanted
