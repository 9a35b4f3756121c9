"""The provenance of a run: versions, machine, source state."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

PACKAGES = ("gatewise", "numpy", "scipy", "hypothesis", "python-flint", "torch")


def header(command: str, seed: int) -> dict[str, Any]:
    """Return the fields of every run's header: command, time, seed, versions, machine, source."""
    return {
        "command": command,
        "created": now(),
        "seed": seed,
        "versions": versions(),
        "machine": machine(),
        "source": source_state(),
    }


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that matter; absent ones are left out."""
    from importlib import metadata  # its imports are dear, and layers' processes need none

    by_package = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            by_package[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return by_package


def machine() -> dict[str, str]:
    """Return system, processor and number of cores."""
    return {
        "system": f"{platform.system()} {platform.release()}",
        "processor": _processor(),
        "cores": str(os.cpu_count()),
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def source_state() -> str:
    """Return the commit of gatewise's own checkout, with a + if it was changed; "" if installed."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return ""
    commit = _git(root, "rev-parse", "--short=12", "HEAD")
    return commit + ("+" if commit and _git(root, "status", "--porcelain") else "")


def _git(root: Path, *arguments: str) -> str:
    try:
        process = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return ""
    return process.stdout.strip()


def now() -> str:
    """Return the time in UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def gpu() -> dict[str, str]:
    """Return torch's description of the GPU that it has used, {} if it has used none."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available() or not torch.cuda.is_initialized():
        return {}
    return {
        "name": torch.cuda.get_device_name(),
        "capability": ".".join(map(str, torch.cuda.get_device_capability())),
        "driver": _driver(),
        "cuda": str(torch.version.cuda),
        "cudnn": str(torch.backends.cudnn.version()),
        "cudnn.deterministic": str(torch.backends.cudnn.deterministic),
        "deterministic_algorithms": str(torch.are_deterministic_algorithms_enabled()),
    }


def _driver() -> str:
    path = Path("/proc/driver/nvidia/version")
    if not path.is_file():
        return "unknown"
    words = path.read_text(encoding="utf-8", errors="replace").split()
    return next((w for w in words if w[:1].isdigit() and w.count(".") > 0), "unknown")
