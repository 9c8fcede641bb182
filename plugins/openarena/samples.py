"""A data set from the game: scripted play on several maps, recorded, and drawn twice for frames and truth."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agent.context import outside_a_run
from agent.factories import Sample
from core.display import own_display
from core.errors import UserError
from plugins.openarena import footage, skins
from plugins.openarena.installation import Installation, find
from plugins.openarena.settings import BOTS, Settings

TRAINING_MAPS = (
    "am_galmevish", "am_lavaarena", "am_thornish", "am_underworks2", "ce1m7", "czest1dm", "delta", "dm4ish", "dm6ish",
    "islanddm", "kaos2", "oa_dm1", "oa_dm2", "oa_dm3", "oa_dm4", "oa_dm5", "oa_dm6", "oa_dm7", "oa_rpg3dm2",
    "oa_spirit3", "oasago2", "pul1duel-oa", "q3dm6ish", "sleekgrinder", "suspended", "wrackdm17",
)  # fmt: skip
VALIDATION_MAPS = ("aggressor", "czest1tourney", "fan", "hydronex", "oa_minia", "oa_shouse", "slimefac")
"""Maps that no training sees."""

RATE = 2
"""Frames a second of the game's time: far enough apart to differ."""
SECONDS = 60
"""The game's time of one demo."""
FEWEST_BOTS, MOST_BOTS = 6, 12
FEWEST_PIXELS, LOWEST_PX = (24, 48), (8, 14)
"""What a head and a body show at least to be found by looking: pixels, and the height of the box."""
EMPTY_SHARE = 0.2
"""How many of a demo's frames without anybody are taken."""
DIFFERENT, MOST_DIFFERENT = 32, 0.12
"""A pair of frames is of one moment when no more than this part of the pixels beside the players differs by so much;
effects are drawn by chance."""
KEYS = {
    ("left", "right"): 0.8,
    ("moveleft", "moveright", "forward", "back"): 0.6,
    ("lookup", "lookdown"): 0.25,
    ("attack",): 0.4,
}
"""What is held for a while, and how often."""
TRIES = 4
"""Demos in which nobody is seen before it is given up."""


@dataclass(frozen=True)
class Archives:
    """What demos are drawn with: the pictures, and the truth beside those with a status bar and those without."""

    faces: Path
    status_bar: Path
    bare: Path


def collect(settings: Settings, frames: int, seed: int, validation: bool) -> Iterator[Sample]:
    """Yield frames with their truth; the same seed draws the same scenes, but the game plays by chance.

    :raises UserError: the game is not installed, or fails.
    """
    installation = find(settings, outside_a_run(Path()))
    rng = np.random.default_rng([seed, int(validation)])
    left, barren = frames, 0
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="reticle-openarena-data-")))
        stack.enter_context(own_display(settings.width, settings.height))
        archives = Archives(
            skins.write_faces(installation, folder / "faces.pk3"),
            skins.write(installation, folder / "status-bar.pk3", "status bar"),
            skins.write(installation, folder / "bare.pk3", "bare"),
        )
        while left:
            before = left
            for sample in _demo(installation, settings, archives, folder, rng, validation):
                yield sample
                left -= 1
                if not left:
                    return
            barren = barren + 1 if left == before else 0
            if barren == TRIES:
                raise UserError(f"nobody was seen in {TRIES} games of OpenArena in turn; is its data whole?")


def _demo(
    installation: Installation,
    settings: Settings,
    archives: Archives,
    folder: Path,
    rng: np.random.Generator,
    validation: bool,
) -> Iterator[Sample]:
    there = installation.maps()
    name = str(rng.choice([name for name in (VALIDATION_MAPS if validation else TRAINING_MAPS) if name in there]))
    looks = settings.model_copy(
        update={
            "gun": bool(rng.random() < 0.7),
            "hud": bool(rng.random() < 0.4),
            "fov_deg": float(rng.choice([settings.fov_deg, settings.fov_deg, 80.0, 100.0])),
            "bots": MOST_BOTS,
            "skins": "own",
        }
    )
    count = rng.integers(FEWEST_BOTS, MOST_BOTS + 1)
    bots = {str(bot): int(rng.integers(1, 6)) for bot in rng.permutation(list(BOTS))[:count]}
    demo = footage.record(installation, looks, name, bots, script(list(bots), rng), folder)
    numbers = skins.colours(installation).only(bots)
    truth = archives.status_bar if looks.hud else archives.bare
    with (
        footage.drawn(installation, looks, demo, RATE, archives.faces, truth=False) as plain,
        footage.drawn(installation, looks, demo, RATE, truth, truth=True) as coloured,
    ):
        alive = False
        for picture, colours in zip(footage.pictures(plain), footage.pictures(coloured), strict=False):
            if not skins.alive(colours):
                continue
            alive = True
            seen = numbers.seen(colours, picture)
            if (len(seen.xyxy) or rng.random() < EMPTY_SHARE) and alike(picture, colours):
                yield _sample(picture, seen, name)
    demo.unlink()
    if not alive:
        raise UserError(
            "OpenArena did not draw the crosshair that marks what the living see; is there a mod among the archives in "
            f"{installation.folder}?"
        )


def script(bots: Sequence[str], rng: np.random.Generator) -> list[str]:
    """Return the console commands of a demo: turning, strafing and shooting on one's own, then the bots' own views."""
    lines = ["god"]  # who is shot dead does not play, and sees the others from the floor, or a table of points
    left = round(SECONDS * 1000 / footage.WAIT_MS)
    following = int(left * rng.uniform(0.35, 0.65))
    while left > following:
        held = [str(rng.choice(keys)) for keys, chance in KEYS.items() if rng.random() < chance]
        steps = int(rng.integers(8, 60))
        lines += [f"cl_yawspeed {int(rng.integers(30, 240))}", *(f"+{key}" for key in held), f"wait {steps}"]
        lines += [f"-{key}" for key in held] + (["centerview"] if rng.random() < 0.5 else [])
        left -= steps
    lines += ["team spectator", "wait 10"]
    while left > 0:
        steps = int(rng.integers(100, 400))
        lines += [f"follow {bots[int(rng.integers(len(bots)))]}", f"wait {steps}"]
        left -= steps
    return lines


def alike(picture: NDArray[np.uint8], truth: NDArray[np.uint8]) -> bool:
    """Tell whether two pictures are of the same moment, the players aside."""
    a, b = picture[::4, ::4], truth[::4, ::4]
    beside = (b[..., 0] ^ b[..., 1]) != 255
    different = np.abs(a.astype(np.int16) - b).max(axis=2) > DIFFERENT
    return bool((different & beside).mean() <= MOST_DIFFERENT)


def _sample(picture: NDArray[np.uint8], seen: skins.Seen, name: str) -> Sample:
    heights = seen.xyxy[:, 3] - seen.xyxy[:, 1]
    hidden = (seen.pixels < np.array(FEWEST_PIXELS)[seen.class_id]) | (heights < np.array(LOWEST_PX)[seen.class_id])
    return Sample(np.ascontiguousarray(picture), seen.xyxy, seen.class_id, hidden, name)
