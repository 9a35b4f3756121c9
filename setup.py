"""Everything is in pyproject.toml; this keeps the noxfile out of the package, whose root is here."""

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithoutNoxfile(build_py):
    """Package the root's modules except those that are the repository's own."""

    def find_package_modules(self, package, package_dir):  # type: ignore[no-untyped-def]
        """Drop noxfile.py from the modules of ``gatewise``."""
        found = super().find_package_modules(package, package_dir)
        return [module for module in found if module[1] != "noxfile"]


setup(cmdclass={"build_py": BuildWithoutNoxfile})
