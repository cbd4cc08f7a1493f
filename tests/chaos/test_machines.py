"""Machines of a run: what reaches them, what does not while they are unplugged, and that nothing of them stays."""

import os
import subprocess
import sys
from pathlib import Path

from chaos.machines import Machines
from supervisor.programs import Program, never

RUN = """
import shutil, socket, subprocess, sys
from pathlib import Path
from chaos.machines import DISK_MIB, enter_own_machines

folder = Path(sys.argv[1])
machines = enter_own_machines()
if machines.refusal:
    sys.exit(f"refused: {machines.refusal}")
one, two = machines.open_machine(folder), machines.open_machine(folder)
assert len({one.address, two.address, one.hub}) == 3
listens = subprocess.Popen((*one.enter, sys.executable, "-c", '''if True:
    import socket, sys
    server = socket.create_server((sys.argv[1], 7000))
    print("ready", flush=True)
    while True:
        server.accept()[0].close()
''', one.address), stdout=subprocess.PIPE, text=True)
assert listens.stdout.readline() == "ready\\n"

def reaches() -> bool:
    asks = "import socket, sys; socket.create_connection((sys.argv[1], 7000), 0.2).close()"
    command = (*two.enter, sys.executable, "-c", asks, one.address)
    return subprocess.run(command, stderr=subprocess.DEVNULL).returncode == 0

while not reaches():
    pass
one.unplug()
print(reaches())
one.plug()
while not reaches():
    pass
listens.kill()
(folder / "disk").mkdir()
machines.open_disk(folder / "disk")
print(shutil.disk_usage(folder / "disk").total >> 20 == DISK_MIB)
"""


def test_a_machine_is_cut_off_and_comes_back(tmp_path: Path) -> None:
    """Nothing reaches it while it is unplugged. Its disk is small; both end with the run, which leaves no mount."""
    done = subprocess.run(
        (sys.executable, "-c", RUN, str(tmp_path)), check=False, capture_output=True, text=True, cwd=Path.cwd()
    )
    if done.stderr.startswith("refused: "):
        # As in a container, or as another user: then the reason is told, and the run has this machine alone.
        assert os.geteuid() != 0 or "no network namespaces here" in done.stderr
        return
    assert done.stdout.split() == ["False", "True"], done.stderr
    assert str(tmp_path) not in Path("/proc/mounts").read_text(encoding="utf-8")


def test_without_machines_everything_runs_here(tmp_path: Path) -> None:
    """The same address for all, the command as it is, and no other disk."""
    machines = Machines("only root may")
    machine = machines.open_machine(tmp_path)
    program = Program(name="x", command=("true",), environ={}, parse_ready=never)
    assert machine.place(program) == program
    assert machine.address == machine.hub == "127.0.0.1"
    machines.open_disk(tmp_path)
    assert str(tmp_path) not in Path("/proc/mounts").read_text(encoding="utf-8")
