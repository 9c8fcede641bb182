"""How long a mouse button stays down after something goes wrong: each fault on a real X server, a button held.

`uv run -m benchmarks.button_up --tries 20` starts a live run on a display of its own for each try, waits until it holds
the left button, lets the fault happen, and times until the server says that the button is up.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from core.display import own_display
from core.provenance import provenance
from tests.desktop import until
from tests.plugins.test_screen import Screen
from tests.test_live_run import WINDOW_TITLE, Run, fires, lifeline_of

LIMIT_S = 5.0


def faults() -> dict[str, tuple[dict[str, Any], Callable[[Run], None]]]:
    """Return each fault: changes to the live profile, and what makes it happen."""

    def send(number: int) -> Callable[[Run], None]:
        return lambda run: run.process.send_signal(number)

    def waiting(run: Run) -> None:
        assert until(lambda: "hanging" in run.errors(), 60)

    def both(run: Run) -> None:
        lifeline_of(run).kill()
        time.sleep(0.02)
        run.process.kill()

    hold = {"detector": {"plugin": "blue", "fault": "hold", "frames": 400}}
    hang = {"detector": {"plugin": "blue", "fault": "hang", "frames": 400}}
    return {
        "SIGKILL": ({}, send(signal.SIGKILL)),
        "SIGSEGV": ({}, send(signal.SIGSEGV)),
        "SIGSTOP": ({}, send(signal.SIGSTOP)),
        "SIGTSTP (Ctrl-Z)": ({}, send(signal.SIGTSTP)),
        "SIGTERM": ({}, send(signal.SIGTERM)),
        "interpreter lock held": (hold, waiting),
        "detector hangs": (hang, waiting),
        "lifeline killed": ({}, lambda run: lifeline_of(run).kill()),
        "lifeline killed, then the agent": ({}, both),
    }


def measure(name: str, changes: dict[str, Any], happen: Callable[[Run], None]) -> float:
    """Return the seconds from a fault until the button is up."""
    with own_display(), tempfile.TemporaryDirectory() as folder:
        screen = Screen()
        screen.root.warp_pointer(640, 360)
        screen.window(WINDOW_TITLE, 590, 310, 100, 100, 0x3366CC)
        run = Run(Path(folder), screen, **changes)
        try:
            if not fires(screen):
                raise SystemExit(f"{name}: the run never held the button: {run.errors()[-500:]}")
            begun = time.perf_counter()
            happen(run)
            if changes:  # the fault's own time is when it says so
                begun = time.perf_counter()
            if not until(lambda: screen.buttons() == 0, LIMIT_S):
                return LIMIT_S
            return time.perf_counter() - begun
        finally:
            screen.key("Shift_L", press=False)
            for child in psutil.Process(run.process.pid).children() if run.process.poll() is None else []:
                child.send_signal(signal.SIGCONT)
            run.process.kill()
            run.end()
            Run.started.clear()
            screen.display.close()


def main() -> None:
    """Run from the command line; status 1 when a button stayed down for a second."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tries", type=int, default=20)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for name, (changes, happen) in faults().items():
        times = [measure(name, changes, happen) for _ in range(given.tries)]
        row = {"fault": name, "tries": len(times), "median_s": round(statistics.median(times), 3)}
        rows.append(row | {"slowest_s": round(max(times), 3)})
        print(
            f"{name:32} {row['median_s']:6.3f} s (median of {row['tries']}), {max(times):6.3f} s the slowest",
            flush=True,
        )
    print(f"watchdog_ms 150; load {os.getloadavg()[0]:.1f}")
    if given.json is not None:
        given.json.write_text(json.dumps({"provenance": provenance(), "rows": rows}, indent=2) + "\n")
    raise SystemExit(1 if any(row["slowest_s"] >= 1 for row in rows) else 0)


if __name__ == "__main__":
    main()
