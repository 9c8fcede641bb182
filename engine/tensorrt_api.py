"""What differs between `tensorrt` 10, `tensorrt` 11, `tensorrt_lean` and `tensorrt_rtx`, in one place."""

from __future__ import annotations

import importlib
import itertools
import re
from typing import Any

from core.errors import UserError

MODULES = {
    "tensorrt": ("tensorrt",),
    "tensorrt-rtx": ("tensorrt_rtx", "tensorrt_rtx_bindings"),
    "tensorrt-lean": ("tensorrt_lean", "tensorrt_lean_bindings"),
}
"""The modules of each engine; bare bindings go by the second name."""
LATER_MAJORS = {8: (10,), 10: (11,)}
"""The other major versions that run version-compatible engines of each (NVIDIA's support matrix of 11.4)."""


def load(name: str) -> Any:
    """Import TensorRT.

    :param name: `tensorrt`, `tensorrt-rtx` or `tensorrt-lean`.
    :raises UserError: it is not installed, or its libraries are missing.
    """
    problem: Exception | None = None
    for module in MODULES[name]:
        try:
            return importlib.import_module(module)
        except ImportError as error:
            problem = problem or error
        except (OSError, RuntimeError) as error:
            problem = error
    raise UserError(f"{name} cannot be loaded ({problem}); install it anew, or choose another engine") from problem


def is_rtx(trt: Any) -> bool:
    """Say whether this is TensorRT for RTX, which compiles for the card when an engine is first used."""
    return hasattr(trt, "ComputeCapability")


def version(trt: Any) -> str:
    """Return the version that a built engine is bound to."""
    return str(trt.__version__)


def runs(here: str, made: str) -> bool:
    """Say whether a runtime of version `here` takes a version-compatible engine that `made` built."""
    ours, theirs = (
        [int(part) for part in itertools.takewhile(str.isdigit, re.split(r"[.+-]", version))]
        for version in (here, made)
    )
    if not ours or not theirs:
        return here == made
    return ours >= theirs if ours[0] == theirs[0] else ours[0] in LATER_MAJORS.get(theirs[0], ())
