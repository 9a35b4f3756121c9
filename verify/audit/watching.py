"""Wait until their tests import a module, without importing anything for them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

Found = Callable[[ModuleType], None]


class Watcher(MetaPathFinder):
    """Calls ``found`` with a module, named or made from a file, as soon as it has been executed."""

    def __init__(self, where: str, found: Found) -> None:
        is_file = where.endswith(".py") or "/" in where
        self.path = Path(where).expanduser().resolve() if is_file else None
        self.name, self.found = where, found
        self._asking = False

    def start(self) -> None:
        """Watch imports from now on; what is imported already is found at once."""
        for name, module in list(sys.modules.items()):
            # whatever else stands there, and modules that load themselves when asked, are not ours
            own = vars(module) if isinstance(module, ModuleType) else {}
            if self._is_wanted(name, own.get("__file__")):
                self.found(module)
        sys.meta_path.insert(0, self)

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Let the others find the module, and have its execution end with a call of ``found``."""
        if self._asking or (self.path is None and name != self.name):
            return None
        self._asking = True
        try:
            others = (f for f in sys.meta_path if f is not self and hasattr(f, "find_spec"))
            spec = next((s for f in others if (s := f.find_spec(name, path, target))), None)
        finally:
            self._asking = False
        if spec is not None and spec.loader and self._is_wanted(name, spec.origin):
            self._tell_after(spec.loader, name)
        return spec

    def _is_wanted(self, name: str, file: str | None) -> bool:
        if self.path is None:
            return name == self.name
        return bool(file) and Path(str(file)).name == self.path.name and _same(file, self.path)

    def _tell_after(self, loader: Any, name: str) -> None:
        execute = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            if module.__name__ == name:  # pytest's loader of tests serves many modules
                self.found(module)

        loader.exec_module = exec_module


def _same(file: str | None, path: Path) -> bool:
    return file is not None and Path(file).resolve() == path
