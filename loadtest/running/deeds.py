"""What befalls the system in the middle of a run: nodes are killed or drained.

A fresh stack is ours to hurt. Of a system that runs elsewhere, its owner gives us a program to call: `--hook`.
"""

import shlex
import subprocess
from collections.abc import Callable
from typing import Final

from loadtest.command.exits import CouldNotRun
from loadtest.scenarios.plan import Action, Plan
from loadtest.stack.stack import Stack, StackError

SYSTEM_ACTIONS: Final = frozenset({Action.KILL_NODE, Action.DRAIN_NODES})
"""The other actions are the users' own."""
_HOOK_DEADLINE: Final = 300.0


class Deeds:
    """Does what a stage asks for, and says when it is done."""

    def __init__(self, stack: Stack | None, hook: str | None, say: Callable[[str], None]) -> None:
        self._stack = stack
        self._hook = hook
        self._say = say
        self.failed: list[str] = []
        """Why something could not be done, in words."""

    def check(self, plan: Plan) -> None:
        """Raise CouldNotRun when the plan asks for something that nobody can do."""
        asked = sorted({stage.action for stage in plan.stages if stage.action in SYSTEM_ACTIONS})
        if asked and self._stack is None and self._hook is None:
            raise CouldNotRun(
                f"{plan.scenario} needs somebody to {' and '.join(asked)}, and this system is not ours",
                "Give a program with --hook COMMAND: it is called with the action. Or run without --crowd.",
            )

    def act(self, action: Action) -> None:
        """Do it, and return when it is done. Raises nothing: what fails is kept."""
        try:
            self._say(f"{action}: {self._act(action)}")
        except (StackError, OSError, subprocess.SubprocessError) as error:
            self.failed.append(f"{action} failed: {str(error).splitlines()[0]}")
            self._say(self.failed[-1])

    def _act(self, action: Action) -> str:
        if self._hook is not None:
            command = (*shlex.split(self._hook), str(action))
            subprocess.run(command, check=True, timeout=_HOOK_DEADLINE, stdin=subprocess.DEVNULL)  # noqa: S603 - the caller's own words
            return "done"
        assert self._stack is not None
        if action is Action.KILL_NODE:
            return f"{self._stack.kill_node()} was killed and is back"
        return f"{', '.join(self._stack.drain_nodes())} drained and back"
