"""What the ledger may bring into a Locust process."""

import subprocess
import sys

from tests.house import tree


def test_neither_trio_nor_a_server_comes_with_it() -> None:
    """Importing all of the ledger and of the REST callers brings in no Trio, no Locust and no server code."""
    sources = tree.sources("loadtest")
    names = [source.name for source in sources if source.name.startswith(("loadtest/ledger/", "loadtest/rest/"))]
    modules = [name.removesuffix(".py").replace("/", ".").removesuffix(".__init__") for name in names]
    program = f"import sys, importlib; [importlib.import_module(m) for m in {modules}]; print(*sys.modules)"
    loaded = subprocess.run((sys.executable, "-c", program), cwd=tree.ROOT, check=True, capture_output=True, text=True)
    found = {"trio", "locust", "domain", "storage", "relay", "api", "varde"} & set(loaded.stdout.split())
    assert len(modules) >= 7
    tree.expect_none(found, "modules that come with the ledger")
