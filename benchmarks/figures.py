"""Where a benchmark leaves its figures: JSON, with the machine and the versions beside them."""

import json
import os
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("annotator", "numpy", "pyarrow", "duckdb", "torch", "transformers")


def write_figures(path: Path, figures: Mapping[str, Any]) -> None:
    """Replaces the file."""
    machine = {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
    }
    versions = {package: _version(package) for package in PACKAGES}
    written = {"figures": dict(figures), "machine": machine, "versions": versions}
    Path(path).write_text(json.dumps(written, indent=2) + "\n")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())
