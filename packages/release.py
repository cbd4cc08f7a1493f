"""Makes a release: wheels, what is in them (SBOM), checksums, and one signature over the checksums.

Nothing in it depends on when or where it is made, so anybody can make the same files from the same commit and compare.
"""

import argparse
import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
PROJECTS: Final = (ROOT, ROOT / "packages" / "server", ROOT / "packages" / "load")
LOCKED: Final = {"varde": "client.txt", "varde-server": "runtime.txt"}
"""What is installed beside each distribution, by hash."""
SUMS: Final = "SHA256SUMS"
NAMESPACE: Final = "varde-release"
"""Of the signature: one made for something else with the same key is none of a release."""


def main() -> None:
    """Make a release in an empty folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--key", type=Path, help="an SSH key to sign with; its agent or its passphrase is asked")
    told = parser.parse_args()
    folder: Path = told.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        sys.exit(f"{folder} is not empty")
    for project in PROJECTS:
        _run(project, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder))
    for name, locked in LOCKED.items():
        (folder / locked).write_bytes((ROOT / "requirements" / locked).read_bytes())
        sbom = ("--output-reproducible", "-o", str(folder / f"{name}.cdx.json"), f"requirements/{locked}")
        _run(ROOT, "-m", "cyclonedx_py", "requirements", *sbom)
    files = sorted(folder.iterdir())
    sums = "".join(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files)
    (folder / SUMS).write_text(sums, encoding="utf-8")
    if told.key is None:
        sys.stdout.write(f"{folder}: {len(files)} files, not signed (make release KEY=~/.ssh/id_ed25519)\n")
    else:
        _sign(folder / SUMS, told.key)
        sys.stdout.write(f"{folder}: {len(files)} files, signed\n")


def _run(place: Path, *command: str) -> None:
    environ = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
    subprocess.run((sys.executable, *command), cwd=place, env=environ, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - ours


def _sign(sums: Path, key: Path) -> None:
    command: Sequence[str] = ("ssh-keygen", "-q", "-Y", "sign", "-n", NAMESPACE, "-f", str(key), str(sums))
    subprocess.run(command, check=True)  # noqa: S603 - the same


if __name__ == "__main__":
    main()
