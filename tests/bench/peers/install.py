"""Puts the peers into environments of their own, below a folder; nothing of them enters Foliot's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

PYTHON_PACKAGES: Final = (
    "pgqueuer==1.6.0",
    "asyncpg==0.32.0",
    "uvloop==0.23.0",
    "celery==5.7.0",
    "redis==8.1.0",
    "packaging==26.3",
)
NODE_PACKAGES: Final = ("node@22.23.3", "graphile-worker@0.18.0", "pg@8.23.1", "bullmq@6.7.0", "ioredis@6.0.0")


def install(tools: Path) -> list[str]:
    """Install what is not there yet; answers what could not be had, with the reason."""
    missing = []
    tools.mkdir(parents=True, exist_ok=True)
    for what, steps in (("Python's peers", _python_steps(tools / "python")), ("Node's peers", _node_steps(tools / "node"))):
        try:
            for step in steps:
                subprocess.run(step, check=True, capture_output=True, text=True)
        except (OSError, subprocess.CalledProcessError) as error:
            words = getattr(error, "stderr", None) or str(error)
            missing.append(f"{what}: {words.strip().splitlines()[-1]}")
    return missing


def _python_steps(folder: Path) -> list[list[str]]:
    if (folder / ".installed").exists():
        return []
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-input", *PYTHON_PACKAGES]
    return [[sys.executable, "-m", "venv", "--clear", str(folder)], pip, ["touch", str(folder / ".installed")]]


def _node_steps(folder: Path) -> list[list[str]]:
    if (folder / ".installed").exists():
        return []
    flags = ["--no-package-lock", "--no-save", "--no-audit", "--no-fund", "--no-progress", "--loglevel=error"]
    npm = ["npm", "install", "--prefix", str(folder), *flags, *NODE_PACKAGES]
    return [npm, ["touch", str(folder / ".installed")]]
