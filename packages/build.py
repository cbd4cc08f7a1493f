"""Builds `varde-server` and `varde-load`: their packages lie at the root of the repository, outside of their projects.

Hatchling looks for files below a project's folder only, and it would copy what `force-include` names into an editable
install as well, where the copy would hide the checkout. So these hooks add the packages, to real wheels only.
"""

import tomllib
from pathlib import Path
from typing import Any, Final

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface

ROOT: Final = Path(__file__).parents[1]


class Version(MetadataHookInterface):
    """Takes the version from the pyproject.toml at the root, and requires the distribution below in just that one."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Fill in `version` and `dependencies`."""
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        metadata["version"] = project["version"]
        metadata["dependencies"] = [f"{self.config['extends']}=={project['version']}", *self.config["dependencies"]]


class Packages(BuildHookInterface[Any]):
    """Puts packages from the root of the repository at the top level of the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add them. An editable install has the checkout on its path instead (`dev-mode-dirs`)."""
        if version != "editable":
            build_data["force_include"] |= {str(ROOT / name): name for name in self.config["packages"]}
