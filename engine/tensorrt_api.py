"""What differs between `tensorrt` 10, `tensorrt` 11 and `tensorrt_rtx`, in one place."""

from __future__ import annotations

import importlib
from typing import Any

from core.errors import UserError

MODULES = {"tensorrt": ("tensorrt",), "tensorrt-rtx": ("tensorrt_rtx", "tensorrt_rtx_bindings")}
"""The modules of each engine; RTX's bare bindings go by the second name."""


def load(name: str) -> Any:
    """Import TensorRT.

    :param name: `tensorrt` or `tensorrt-rtx`.
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
