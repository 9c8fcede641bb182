"""Nothing leaves the machine: the packages that report their use are told not to before they can be imported.

This runs when `core` is first imported, which every room, worker and cluster task does before it imports a runtime.
Only what reports is switched off; `fetch`, a named cluster and a stream use the network because the user asked.
"""

from __future__ import annotations

import os
import sys
from typing import Any

SWITCHES = {
    "ORT_DISABLE_TELEMETRY": "1",  # ONNX Runtime 1.32 looks an endpoint up and keeps a device id in the home folder
    "RAY_USAGE_STATS_ENABLED": "0",
    "DO_NOT_TRACK": "1",
}
BLOCKED = "openvino_telemetry"
"""OpenVINO sends an event on import, whatever is set; without this package it takes a stub of its own instead."""


def keep_offline() -> None:
    """Switch reporting off in this process and those that it starts."""
    os.environ.update(SWITCHES)
    modules: dict[str, Any] = sys.modules
    modules.setdefault(BLOCKED, None)  # what the import system takes for "there is no such module"
