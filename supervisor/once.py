"""A program that does its work and ends, run to its end.

Nothing is started again here: `keeper.py` does that.
"""

from typing import Final

import trio

from supervisor.happenings import Said, Tell, describe_exit
from supervisor.keeper import StartFailed
from supervisor.process import Start
from supervisor.program import Program

_TAIL_LINES: Final = 12


async def run_once(program: Program, start: Start, tell: Tell, *, aloud: bool = True) -> list[str]:
    """Run it to its end and return the lines it wrote; `aloud` tells them, too.

    Raises:
        StartFailed: it ended with another exit code than 0, or took longer than its `start_patience`.
    """
    lines: list[str] = []

    def on_line(line: str) -> None:
        lines.append(line)
        if aloud:
            tell(Said(program.name, line))

    why = f"took longer than {program.start_patience:g} s"
    with trio.move_on_after(program.start_patience):
        async with start(program, on_line) as process:
            code = await process.wait()
        if code == 0:
            return lines
        why = describe_exit(code)
    raise StartFailed(program, why, tuple(lines[-_TAIL_LINES:]), what="failed")
