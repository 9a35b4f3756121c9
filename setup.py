"""What pyproject.toml cannot say: the repository's root is the package, folders its subpackages."""

from pathlib import Path
from typing import Any

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
ROOMS = ("reference", "verify", "bench", "reports", "cli")


class PackageOnly(build_py):
    """Package the root's modules, except those that serve the repository."""

    def find_package_modules(self, package: str, package_dir: str) -> list[Any]:
        """Drop noxfile.py and setup.py from the modules of ``gatewise``."""
        found = super().find_package_modules(package, package_dir)
        return [module for module in found if module[1] not in ("noxfile", "setup")]


folders = [
    path.parent.relative_to(ROOT) for room in ROOMS for path in ROOT.glob(f"{room}/**/__init__.py")
]
packages = {"gatewise": ".", **{".".join(("gatewise", *f.parts)): str(f) for f in sorted(folders)}}

setup(
    packages=list(packages),
    package_dir=packages,
    cmdclass={"build_py": PackageOnly},
)
