"""How whoever reads a message started this program, and can start the remedy it names."""

from __future__ import annotations

import os
import sys
from pathlib import Path

_SCRIPT = Path(sys.argv[0]).name if sys.argv and sys.argv[0] else ""

COMMAND = (
    "reticle" if _SCRIPT.startswith("reticle") else "uv run agent.py" if os.environ.get("UV") else "python agent.py"
)
