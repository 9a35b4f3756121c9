"""Everything is in pyproject.toml; this only keeps the repository's own modules out of the wheel.

The repository's root is the package, so setuptools would take noxfile.py for a part of it.
"""

from typing import Any

from setuptools import setup
from setuptools.command.build_py import build_py


class PackageOnly(build_py):
    """Package the root's modules, except those that serve the repository."""

    def find_package_modules(self, package: str, package_dir: str) -> list[Any]:
        """Drop noxfile.py and setup.py from the modules of ``gatewise``."""
        found = super().find_package_modules(package, package_dir)
        return [module for module in found if module[1] not in ("noxfile", "setup")]


setup(cmdclass={"build_py": PackageOnly})
