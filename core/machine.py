"""What machine this is: part of every report, and of the keys that engines are cached under."""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import shutil
import subprocess
from pathlib import Path


@functools.cache
def processor() -> str:
    """Return the processor's name and the number of its logical cores."""
    name = platform.processor()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), name)
    return f"{name or platform.machine()} x{os.cpu_count()}"


@functools.cache
def gpus() -> tuple[str, ...]:
    """Return the names of NVIDIA's GPUs, as their driver lists them."""
    return tuple(line.split(" (UUID")[0] for line in nvidia_smi("-L"))


def nvidia_smi(*arguments: str) -> list[str]:
    """Return what NVIDIA's driver answers, a line each; nothing where there is none."""
    if shutil.which("nvidia-smi") is None:
        return []
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        answer = subprocess.run(["nvidia-smi", *arguments], capture_output=True, text=True, timeout=10, check=True)
        return answer.stdout.splitlines()
    return []


def hardware() -> list[str]:
    """Return the processor and the GPUs."""
    return [processor(), *gpus()]
