"""Influences on times other than the code: threads, clocks, and other load on the machine.

Everything is read, nothing is set.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")
CPU = Path("/sys/devices/system/cpu/cpu0/cpufreq")
INFO = Path("/proc/cpuinfo")


def environment() -> dict[str, str]:
    """Return threads, BLAS, clock, CPU frequency and load; what cannot be read is left out."""
    import numpy as np

    config: Any = np.show_config(mode="dicts")
    blas = config["Build Dependencies"]["blas"]
    settings = {"blas": f"{blas['name']} {blas['version']}"}
    settings |= {name: os.environ[name] for name in THREADS if name in os.environ}
    if hasattr(os, "sched_getaffinity"):
        settings["cores usable"] = str(len(os.sched_getaffinity(0)))
    for name, file in (("governor", "scaling_governor"), ("MHz at most", "cpuinfo_max_freq")):
        if (CPU / file).exists():
            text = (CPU / file).read_text().strip()
            settings[name] = f"{int(text) / 1000:.0f}" if text.isdigit() else text
    if INFO.exists():
        lines = INFO.read_text(encoding="utf-8", errors="replace").splitlines()
        clocks = [line.partition(":")[2].strip() for line in lines if line.startswith("cpu MHz")]
        settings |= {"MHz now": ", ".join(clocks)} if clocks else {}
    if hasattr(os, "getloadavg"):
        settings["load"] = ", ".join(f"{load:.2f}" for load in os.getloadavg())
    resolution = time.get_clock_info("perf_counter").resolution
    return settings | {"clock": f"perf_counter, {resolution * 1e9:.0f} ns"}
