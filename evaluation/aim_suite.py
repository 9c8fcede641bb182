"""Controllers alone, against targets whose motion is known: a simulated view, no game and no network.

Each run is one target that is to be found and followed, with pictures that come late, boxes that tremble and pictures
without a box; what the controller commands turns the view at the next frame.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from agent.calibration import Calibration
from agent.context import Context, outside_a_run
from agent.factories import ControllerFactory
from agent.history import CommandHistory, View
from agent.profile import Choice
from agent.types import LEFT, Frame, Target
from evaluation import figures
from evaluation.controllers import REFERENCES, chosen

FPS = 60
SECONDS = 8.0
WIDTH, HEIGHT = 640, 480
STEP_DEG = 20.0
"""How far the target is from the crosshair at first."""
HALF_BOX_DEG = 1.5
STRAFE_DEG_S = 30.0
TURN_S = 2.0
"""A strafing target turns round after so long."""
STEADY_S = 1.0
"""What comes this long after a start or a turn counts as steady."""

LATENCIES_MS = (0, 50, 100, 200, 300)
NOISES_PX = (0, 2, 5, 10)
DROPS = (0.0, 0.2, 0.5)


@dataclass(frozen=True)
class Case:
    """What one run is made of: `motion` is one of MOTIONS, `drop` the part of the pictures without a box."""

    motion: str
    controller: str
    latency_ms: float
    noise_px: float
    drop: float
    seed: int


@dataclass(frozen=True)
class Outcome:
    """How a run went; None where it has no such thing.

    `settle_ms`: until the crosshair is in the box and stays for 100 ms; `overshoot_deg`: how far it goes past a still
    target; `steady_deg`: mean aim error once settled; `jitter_deg`: RMS of the difference of two commands, then;
    `hits_per_shot`: of those then.
    """

    settle_ms: float | None
    overshoot_deg: float | None
    steady_deg: float
    jitter_deg: float
    hits_per_shot: float | None


def _still(t: float) -> tuple[float, float]:
    return STEP_DEG, HALF_BOX_DEG


def _strafing(t: float) -> tuple[float, float]:
    """Return a triangle wave of constant speed."""
    phase = t % (2 * TURN_S)
    moved = min(phase, 2 * TURN_S - phase) * STRAFE_DEG_S
    return STEP_DEG + moved, HALF_BOX_DEG


def _approaching(t: float) -> tuple[float, float]:
    """Return one that comes nearer from 20 to 2 metres, passing 1.5 metres aside: it grows, and moves ever faster."""
    distance = 20 - 18 * min(1.0, t / SECONDS)
    first = math.degrees(math.atan(1.5 / 20))
    return STEP_DEG + math.degrees(math.atan(1.5 / distance)) - first, HALF_BOX_DEG * 20 / distance


MOTIONS: dict[str, Callable[[float], tuple[float, float]]] = {
    "still": _still,
    "strafing": _strafing,
    "approaching": _approaching,
}
"""From seconds to where the target is and half its box's width, degrees."""


def contestants(own: Choice, factories: Mapping[str, ControllerFactory]) -> dict[str, Choice]:
    """Return the controllers that take part, made plain for the simulation, where nothing flies and there is one axis.

    They are the profile's own with its settings, and the references.
    """
    plain = {"fire": "tap", "vertical": False, "search_deg_per_s": 0.0, "lead_ms": {}}
    names = [own.name, *(name for name in REFERENCES if name != own.name and name in factories)]
    return {name: chosen(name, own, factories, plain) for name in names}


def cases(seeds: int, controllers: Collection[str]) -> Iterator[Case]:
    """Yield every case; those without chance in them once."""
    for motion, controller, latency, noise, drop in product(MOTIONS, controllers, LATENCIES_MS, NOISES_PX, DROPS):
        for seed in range(seeds if noise or drop else 1):
            yield Case(motion, controller, latency, noise, drop, seed)


def simulate(case: Case, choice: Choice, calibration: Calibration) -> Outcome:
    """Run one case with a controller.

    :param calibration: of a view that is calibrated; the simulated mouse has no delay of its own.
    """
    calibration = calibration.model_copy(update={"delay_ms": 0.0})
    context = _context(calibration)
    per_count = calibration.per_count
    assert per_count is not None
    controller = choice.factory.create(choice.settings, context)
    rng = np.random.default_rng([case.seed, 3])
    focal, reach_deg = calibration.focal_px(WIDTH), calibration.half_view_deg(WIDTH)
    where = MOTIONS[case.motion]
    lag = round(case.latency_ms / 1e3 * FPS)
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    view, count = 0.0, round(SECONDS * FPS)
    true, halves, commands = (np.zeros(count) for _ in range(3))
    shots: list[tuple[int, bool]] = []
    seen: list[Target | None] = []
    for i in range(count):
        at_ns = round((i + 1) / FPS * 1e9)
        target_deg, half = where(i / FPS)
        true[i], halves[i] = target_deg - view, half
        found = None if rng.random() < case.drop else _seen(true[i], half, focal, at_ns, case.noise_px, rng)
        seen.append(found if abs(true[i]) < reach_deg else None)
        late = seen[i - lag] if i >= lag else None
        frame = Frame(pixels, i, at_ns, at_ns, at_ns=at_ns)
        action = controller.decide(late, frame)
        commands[i] = action.dx * per_count[0]
        context.history.add(at_ns, commands[i], 0.0)
        controller.sent(action, frame)
        view += commands[i]
        if action.buttons & LEFT:
            after, half = where((i + 1) / FPS)
            shots.append((i, abs(after - view) <= half))
    return _outcome(case, true, halves, commands, shots)


def _context(calibration: Calibration) -> Context:
    history = CommandHistory(calibration.delay_ns)
    view = View(history, calibration.focal_px)
    return replace(outside_a_run(Path()), calibration=calibration, history=history, view=view)


def _seen(
    error_deg: float, half_deg: float, focal: float, at_ns: int, noise_px: float, rng: np.random.Generator
) -> Target:
    """Return what a detector would give."""
    shift = rng.normal(0, noise_px) if noise_px else 0.0
    x = focal * math.tan(math.radians(error_deg)) + shift
    half = focal * math.tan(math.radians(half_deg))
    middle_x, middle_y = WIDTH / 2, HEIGHT / 2
    box = (middle_x + x - half, middle_y - half, middle_x + x + half, middle_y + half)
    return Target(box, 0, 1.0, middle_x + x, middle_y, x, 0.0, at_ns)


def _outcome(case: Case, true: Any, halves: Any, commands: Any, shots: Sequence[tuple[int, bool]]) -> Outcome:
    times = np.arange(len(true)) / FPS
    inside = np.abs(true) <= halves
    stay = round(0.1 * FPS)
    settled = next((i for i in range(len(true) - stay) if inside[i : i + stay].all()), None)
    since = times % TURN_S if case.motion == "strafing" else times
    steady = since >= STEADY_S
    kept = [hit for i, hit in shots if steady[i]]
    return Outcome(
        None if settled is None else round(settled / FPS * 1e3, 1),
        max(0.0, float(-true.min())) if case.motion == "still" else None,
        float(np.abs(true[steady]).mean()),
        float(np.sqrt(np.mean(np.square(np.diff(commands)[steady[1:]])))),
        sum(kept) / len(kept) if kept else None,
    )


KEYS = ("motion", "controller", "latency_ms", "noise_px", "drop")
MEASURES = ("settle_ms", "overshoot_deg", "steady_deg", "jitter_deg", "hits_per_shot")


def rows(done: Sequence[tuple[Case, Outcome]]) -> list[dict[str, Any]]:
    """Return a row a case: means over its seeds, None where most of them have no such thing."""
    groups: dict[tuple[Any, ...], list[Outcome]] = {}
    for case, outcome in done:
        groups.setdefault(tuple(getattr(case, key) for key in KEYS), []).append(outcome)
    table = []
    for key, outcomes in groups.items():
        row = dict(zip(KEYS, key, strict=True))
        for measure in MEASURES:
            values = [v for v in (asdict(outcome)[measure] for outcome in outcomes) if v is not None]
            row[measure] = round(float(np.mean(values)), 3) if 2 * len(values) > len(outcomes) else None
        table.append(row)
    return table


def find(table: Sequence[dict[str, Any]], **wanted: Any) -> dict[str, Any]:
    """Return the one row with these values."""
    (row,) = [row for row in table if all(row[key] == value for key, value in wanted.items())]
    return row


def heads_and_lines(table: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Return what people look at: heads, and a line a controller and latency; `-` where it never settles or shoots."""
    heads = ["controller", "latency ms", "settle ms", "overshoot deg", "behind 30 deg/s", "jitter deg", "hits per shot"]
    heads += ["behind, half dropped", "behind, 10 px"]
    lines = []
    for controller, latency in product(_controllers(table), LATENCIES_MS):
        row = partial(find, table, controller=controller, latency_ms=latency)
        step = row(motion="still", noise_px=0, drop=0.0)
        strafing = row(motion="strafing", noise_px=2, drop=0.0)
        values = [step["settle_ms"], step["overshoot_deg"], strafing["steady_deg"], strafing["jitter_deg"]]
        values += [row(motion="approaching", noise_px=2, drop=0.0)["hits_per_shot"]]
        values += [row(motion="strafing", noise_px=2, drop=0.5)["steady_deg"]]
        values += [row(motion="strafing", noise_px=10, drop=0.0)["steady_deg"]]
        lines.append(
            [controller, str(latency), *("-" if v is None else f"{v:.{0 if v >= 100 else 2}f}" for v in values)]
        )
    return heads, lines


def draw(table: Sequence[dict[str, Any]]) -> bytes:
    """Return settling, overshoot and steady error against latency, noise and drops, a line a controller, PNG."""
    clean, two_px = {"noise_px": 0, "drop": 0.0}, {"noise_px": 2, "drop": 0.0}
    late = {"motion": "still", "latency_ms": 100, "drop": 0.0}
    dropped = {"motion": "strafing", "latency_ms": 100, "noise_px": 2}
    panels = (
        ("settling of a 20° step, ms", "latency_ms", "settle_ms", {"motion": "still", **clean}),
        ("overshoot of a 20° step, degrees", "latency_ms", "overshoot_deg", {"motion": "still", **clean}),
        ("error behind 30°/s, 2 px noise, degrees", "latency_ms", "steady_deg", {"motion": "strafing", **two_px}),
        ("jitter on a still target, 100 ms, degrees", "noise_px", "jitter_deg", late),
        ("error behind 30°/s, 100 ms, 2 px, degrees", "drop", "steady_deg", dropped),
        ("hits a shot, approaching, 2 px", "latency_ms", "hits_per_shot", {"motion": "approaching", **two_px}),
    )
    drawn = figures.figure(12, 7)
    for axes, (title, x, y, wanted) in zip(drawn.subplots(2, 3).flat, panels, strict=True):
        for name in _controllers(table):
            chosen = [row for row in table if row["controller"] == name and all(row[k] == v for k, v in wanted.items())]
            ys = [np.nan if row[y] is None else row[y] for row in chosen]
            axes.plot([row[x] for row in chosen], ys, "o-", label=name)
        axes.set_title(title, fontsize=10)
        axes.set_xlabel({"latency_ms": "latency, ms", "noise_px": "noise, px", "drop": "part without a box"}[x])
        axes.set_ylim(0)
        axes.grid(alpha=0.3)
    drawn.axes[0].legend()
    return figures.png(drawn)


def _controllers(table: Sequence[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(row["controller"] for row in table))
