"""What the host itself costs: from a frame in memory to the return of the actuation call.

The capture hands out one 640x480 BGRA array again and again, the detector returns one detection at once,
the selection, controller, interlock and guards are the real ones, and the actuation keeps the last action.

    uv run -m benchmarks.host_overhead
"""

from __future__ import annotations

import argparse
import gc
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from agent.border import Border
from agent.calibration import Calibration
from agent.context import Context
from agent.history import CommandHistory
from agent.interlock import Interlock, StopFlag
from agent.loop import ActiveRoles, run
from agent.observers import ObserverQueue
from agent.statistics import RunStatistics
from agent.types import Action, Detections, Frame
from plugins.controller.proportional import ProportionalController
from plugins.controller.proportional import Settings as AimSettings
from plugins.guard.rate import RateGuard
from plugins.guard.rate import Settings as RateSettings
from plugins.guard.staleness import Settings as StalenessSettings
from plugins.guard.staleness import StalenessGuard
from plugins.selection.nearest import NearestSelection
from plugins.selection.nearest import Settings as NearestSettings


class MemoryCapture:
    """Hands out the same picture `count` times."""

    def __init__(self, count: int) -> None:
        self._pixels = np.random.default_rng(0).integers(0, 256, (480, 640, 4), np.uint8)
        self._count = count
        self._index = 0

    def grab(self) -> Frame | None:
        if self._index == self._count:
            return None
        now = time.perf_counter_ns()
        self._index += 1
        return Frame(self._pixels, self._index, now, now)


class InstantDetector:
    """Finds the same thing at once."""

    names: tuple[str, ...] = ("thing",)

    def __init__(self) -> None:
        box = np.array([[300, 200, 360, 300]], np.float32)
        self._found = Detections(box, np.ones(1, np.float32), np.zeros(1, np.int32))

    def detect(self, frame: Frame) -> Detections:
        return self._found


class Hand:
    """Keeps the last action."""

    last: Action | None = None

    def apply(self, action: Action) -> None:
        self.last = action

    def release(self) -> None:
        self.last = None


def measure(frames: int) -> dict[str, Any]:
    """Return the latencies of one run."""
    stop = StopFlag()
    calibration = Calibration(fov_deg=90, degrees_per_count=0.13)
    context = Context(
        folder=Path(), seed=0, live=False, lock_step=True, panic=stop.set, names=("thing",), calibration=calibration
    )
    interlock = Interlock(Hand(), stop)
    limits = RateSettings(max_counts_per_s=10**9, max_clicks_per_s=10**6)
    interlock.guarded_by(
        [("staleness", StalenessGuard(StalenessSettings(), context)), ("rate", RateGuard(limits, context))]
    )
    roles = ActiveRoles(
        MemoryCapture(frames),
        InstantDetector(),
        NearestSelection(NearestSettings(), context),
        ProportionalController(AimSettings(fire="tap"), context),
        interlock,
        ObserverQueue([], wants_pixels=False, wait=False),
        CommandHistory(),
        Border({role: role for role in ("capture", "detector", "selection", "controller")}, ("thing",)),
        calibration.per_count,
    )
    statistics = RunStatistics()
    gc.collect()
    gc.freeze()
    run(roles, statistics, stop, lock_step=True, duration_s=None)
    seconds = (statistics.ended_ns - statistics.started_ns) / 1e9
    return {
        "frames": statistics.frames,
        "actions": interlock.actions,
        "whole_loop_us": round(seconds / statistics.frames * 1e6, 2),
        "frame_to_action_ms": statistics.end_to_end.summary_ms(),
        "select_ms": statistics.stages["select"].summary_ms(),
        "act_ms": statistics.stages["act"].summary_ms(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=20000)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    measure(1000)
    result = measure(args.frames)
    row = result["frame_to_action_ms"]
    print(
        f"frame to action: p50 {row['p50']:.4f} ms, p99 {row['p99']:.4f} ms, max {row['max']:.4f} ms "
        f"({result['frames']} frames, {result['actions']} actions; {result['whole_loop_us']:.1f} us a frame in all)"
    )
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
