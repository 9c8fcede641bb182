"""What tests on a desktop share, on any system."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import pytest

posix = pytest.mark.skipif(os.name == "nt", reason="POSIX signals, paths or processes")
"""Marks what Windows does otherwise."""


def until(condition: Callable[[], Any], timeout_s: float = 5.0) -> bool:
    """Wait for something; return whether it came."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)
    return True


def live_profile(title: str, watchdog_ms: int, *guards: dict[str, Any]) -> dict[str, Any]:
    """Return the profile of a live run on a blue window, a little off the crosshair so that there is a way to go."""
    return {
        "mode": "live",
        "capture": {"plugin": "mss", "width": 400, "height": 300, "left": 430, "top": 205},
        "detector": {"plugin": "blue"},
        "selection": {"plugin": "nearest"},
        "aim": {"plugin": "proportional", "gain": 0.5, "fire": "hold"},
        "actuation": {"plugin": "mouse"},
        "guards": [{"plugin": "arm-key"}, *guards, {"plugin": "window-title", "title": title}],
        "safety": {"watchdog_ms": watchdog_ms},
    }
