"""What a worker process holds when the users are in it."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
PROGRAM = """
import sys
if sys.argv[1] == "patched":
    from gevent import monkey
    monkey.patch_all()
import loadtest.users.relay_user
from loadtest.client.epoll import Engine
Engine().close()
print(*{name.partition(".")[0] for name in sys.modules})
"""


def test_nothing_of_trio_comes_with_the_users() -> None:
    """The users bring in no Trio, no asyncio and nothing of the servers, whether the process is patched or not."""
    for how in ("patched", "plain"):
        command = (sys.executable, "-c", PROGRAM, how)
        loaded = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
        found = {"trio", "asyncio", "locust", "storage", "domain", "relay", "api", "varde"} & set(loaded.stdout.split())
        assert found == set(), how
