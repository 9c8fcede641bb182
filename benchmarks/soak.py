"""Ten minutes at full rate: where time goes, whether memory grows, or latency, and whether an old picture is acted on.

    uv run -m benchmarks.soak --pictures FOLDER [--minutes 10] [--engine openvino] [--precision int8] [--json FILE]

The agent looks at an Xvfb of its own, on which another process shows pictures in turn, and does all but move the mouse.
"""

from __future__ import annotations

import json
import multiprocessing
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer
import yaml

from agent.context import Context
from agent.latency_histogram import Histogram
from agent.loop import ActiveRoles
from agent.plan import Options
from agent.profile import load_profile
from agent.report import as_json
from agent.session import play
from agent.types import Action, Frame, Target
from benchmarks.screen import Screen
from cli.console import out
from cli.run_report import show_report
from core.display import own_display

MAX_AGE_MS = 100
PICTURES_A_SECOND = 20
SIDE = 416
MEMORY_EVERY_S = 5.0


class Timed:
    """A controller that also counts how old each minute's pictures were when it had decided on them."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.minutes: list[Histogram] = []
        self._started_ns = time.perf_counter_ns()
        self.sent = inner.sent

    def begin(self, episode: int) -> None:
        """Let the real one begin."""
        self._inner.begin(episode)

    def decide(self, target: Target | None, frame: Frame) -> Action:
        """Return what the real one decides."""
        action: Action = self._inner.decide(target, frame)
        now = time.perf_counter_ns()
        minute = (now - self._started_ns) // 60_000_000_000
        while len(self.minutes) <= minute:
            self.minutes.append(Histogram())
        self.minutes[minute].record(now - frame.grab_ns)
        return action


def show(folder: Path) -> None:
    """Put one picture after the other on the screen, until this process is ended."""
    screen = Screen(sorted(folder.glob("*.jpg"))[:20], (SIDE, SIDE))
    index = 0
    while True:
        screen.show(index)
        index += 1
        time.sleep(1 / PICTURES_A_SECOND)


def main(
    pictures: Annotated[Path, typer.Option(help="A folder of images for the screen.")],
    model: str = "yolov4-tiny",
    engine: str = "openvino",
    precision: str = "int8",
    minutes: Annotated[float, typer.Option(min=0.1)] = 10,
    json_file: Annotated[Path | None, typer.Option("--json")] = None,
) -> None:
    """Run it, and print a line a minute and what became of the memory."""
    if not any(pictures.glob("*.jpg")):
        raise SystemExit(f"{pictures}: there is no .jpg in this folder")
    timed: list[Timed] = []
    memory: list[tuple[float, float]] = []
    over = threading.Event()

    def watched(roles: ActiveRoles, context: Context) -> ActiveRoles:
        del context
        timed.append(Timed(roles.controller))
        return replace(roles, controller=timed[0])

    def sample() -> None:
        process, began = psutil.Process(), time.monotonic()
        while not over.wait(MEMORY_EVERY_S):
            memory.append((time.monotonic() - began, process.memory_info().rss / 2**20))

    with tempfile.TemporaryDirectory() as folder, own_display():
        path = Path(folder) / "soak.yaml"
        path.write_text(yaml.safe_dump(_profile(model, engine, precision, Path(folder))))
        showing = multiprocessing.get_context("spawn").Process(target=show, args=(pictures.resolve(),), daemon=True)
        showing.start()
        time.sleep(2)
        sampling = threading.Thread(target=sample, daemon=True)
        sampling.start()
        result = play(load_profile(path, []), Options(duration_s=minutes * 60), middleware=[watched])
        over.set()
        sampling.join()
        showing.terminate()
        showing.join()
    if result.error is not None:
        raise result.error
    whole = [h for h in timed[0].minutes if h.count > 100]
    rows = [
        {
            "minute": i + 1,
            "frames": h.count,
            "p50_ms": h.percentile_ns(0.5) / 1e6,
            "p99_ms": h.percentile_ns(0.99) / 1e6,
        }
        for i, h in enumerate(whole)
    ]
    warm = [mib for at_s, mib in memory if at_s >= 60] or [mib for _, mib in memory]
    report = as_json(result)
    stages = report["stages_ms"]
    figures = {
        "rest_p50_ms": sum(row["p50"] for name, row in stages.items() if name != "infer"),
        "end_to_end_over_network": report["end_to_end_ms"]["p50"] / stages["infer"]["p50"],
        "p99_last_over_first": rows[-1]["p99_ms"] / rows[0]["p99_ms"],
        "memory_mib": {"after_a_minute": warm[0], "least": min(warm), "most": max(warm), "last": warm[-1]},
        "oldest_acted_on_ms": report["frame_age_ms"]["max"],
    }
    for row in rows:
        print("minute {minute:2}  {frames:6} frames  p50 {p50_ms:.2f} ms  p99 {p99_ms:.2f} ms".format(**row))
    show_report(report, out)
    print(json.dumps(figures, indent=1))
    if json_file is not None:
        json_file.write_text(json.dumps({"rows": rows, **figures, "report": report}, indent=1) + "\n")


def _profile(model: str, engine: str, precision: str, folder: Path) -> dict[str, Any]:
    return {
        "mode": "live",
        "capture": {"plugin": "mss", "width": SIDE, "height": SIDE, "max_fps": None},
        "detector": {"plugin": "yolo", "model": model, "engine": engine, "precision": precision, "size": SIDE},
        "selection": {"plugin": "best"},
        "aim": {"plugin": "proportional", "gain": 0.3},
        "actuation": {"plugin": "dry-run", "path": str(folder / "actions.jsonl")},
        "guards": [{"plugin": "staleness", "max_age_ms": MAX_AGE_MS}],
    }


if __name__ == "__main__":
    typer.run(main)
