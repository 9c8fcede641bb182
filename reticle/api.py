"""What a notebook or a script calls: runs, detection, evaluation and the arena, each returning a dataclass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from agent.context import outside_a_run
from agent.discovery import discover
from agent.middleware import Middleware
from agent.plan import Options
from agent.profile import choose, find_profile, load_profile
from agent.roles import described
from agent.session import Result, create
from agent.session import play as play_loaded
from agent.types import Detections, Frame
from core.images import read_image
from core.precision import Precision
from core.progress import Progress, silent
from engine.models import ModelFiles, find, read_names
from evaluation import contest as contests
from evaluation.contest import Contest
from evaluation.detect import rows
from evaluation.evaluate import EvaluateConfig, Evaluation
from evaluation.evaluate import evaluate as evaluate_config
from evaluation.tournament import ArenaConfig, ArenaResult
from evaluation.tournament import arena as arena_config


def play(
    profile: str | Path,
    *,
    live: bool = False,
    footage: str | Path | None = None,
    episodes: int | None = None,
    seed: int | None = None,
    duration_s: float | None = None,
    overlay: str | Path | None = None,
    record: str | Path | None = None,
    trace: str | Path | None = None,
    rerun: str | Path | None = None,
    overrides: Sequence[str] = (),
    plugins: Sequence[str | Path] = (),
    middleware: Sequence[Middleware] = (),
) -> Result:
    """Run a profile to its end, as `agent.py --profile` does.

    :param profile: a path, or a name in profiles/.
    :param live: whether the real mouse may be moved; without it nothing on the desktop moves.
    :param overrides: settings in place of the profile's, such as `aim.gain=0.5`.
    :param plugins: plugin files to load.
    :param middleware: functions that put something between the roles of the run; see `agent.middleware`.
    :return: the result; its `error` is what broke the run off, None when nothing did.
    :raises UserError: the profile or an option cannot be used.
    """
    loaded = load_profile(find_profile(str(profile)), [Path(path) for path in plugins], overrides)
    options = Options(
        live=live,
        footage=_path(footage),
        episodes=episodes,
        seed=seed,
        duration_s=duration_s,
        overlay=_path(overlay),
        record=_path(record),
        trace=_path(trace),
        rerun=_path(rerun),
    )
    return play_loaded(loaded, options, middleware=middleware)


@dataclass(frozen=True)
class ImageDetections:
    """What was found in one image.

    `detections` holds boxes float32 (n, 4) xyxy in pixels, confidence float32 (n,) and class_id int32 (n,), an index
    into `names`; `width` and `height` are the image's, pixels.
    """

    detections: Detections
    names: tuple[str, ...]
    width: int
    height: int

    def __len__(self) -> int:
        return len(self.detections)

    def to_dict(self) -> dict[str, Any]:
        """Return `width`, `height` and `detections` as `detect --json` has them."""
        return {"width": self.width, "height": self.height, "detections": rows(self.detections, self.names)}


class Detector:
    """A network ready to detect: `Detector("yolov4-tiny")("street.jpg")`.

    :param model: a bundle, by its name in models/ or its folder; or a Darknet cfg, with `weights`.
    :param names: the class names, one a line; COCO's where the network has 80 classes and there is none.
    :param size: of the network's input, a side or (width, height) in pixels; the model's own by default.
    :param engine: a runtime's name, or `auto` for the fastest that agrees with FP32.
    :param confidence: boxes less sure than this are dropped, 0 to 1.
    :param plugins: plugin files to load, such as one that offers a runtime.
    :raises UserError: a file is missing or wrong, or the engine is not there.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        weights: str | Path | None = None,
        names: str | Path | None = None,
        size: int | tuple[int, int] | None = None,
        engine: str = "openvino",
        precision: Literal["auto"] | Precision = "auto",
        confidence: float = 0.25,
        plugins: Sequence[str | Path] = (),
    ) -> None:
        factory = discover([Path(path) for path in plugins]).first("detector", lambda f: f.runs_models, "runs models")
        given: dict[str, Any] = {"engine": engine, "precision": precision, "confidence": confidence, "size": size}
        if weights is None:
            given["model"] = str(model)
        else:
            given |= {"cfg": Path(model).resolve(), "weights": Path(weights).resolve()}
        if names is not None:
            given["names"] = Path(names).resolve()
        choice = choose(factory, "Detector", **{key: value for key, value in given.items() if value is not None})
        self._detector = create(choice, outside_a_run(Path.cwd()))
        self.names: tuple[str, ...] = tuple(self._detector.names)
        """The class names."""

    def __call__(self, image: str | Path | NDArray[np.uint8]) -> ImageDetections:
        """Return what is in an image.

        :param image: a file, or pixels, uint8 (height, width, 3) BGR or (height, width, 4) BGRA.
        :raises UserError: the file is no image.
        :raises ValueError: the pixels have another shape or dtype.
        """
        pixels = image if isinstance(image, np.ndarray) else read_image(Path(image))
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] not in (3, 4):
            raise ValueError(f"expected uint8 (height, width, 3 or 4), got {pixels.dtype} {pixels.shape}")
        found = self._detector.detect(Frame(pixels, 0, 0, 0))
        return ImageDetections(found, self.names, pixels.shape[1], pixels.shape[0])

    def describe(self) -> dict[str, Any]:
        """Return `model` (`name` and `sha256`), `engine` and `precision` as resolved."""
        return described(self._detector)


def evaluate(
    model: str | Path,
    images: str | Path,
    annotations: str | Path,
    *,
    weights: str | Path | None = None,
    names: str | Path | None = None,
    size: int | tuple[int, int] | None = None,
    engine: str = "openvino",
    precision: Precision = "fp32",
    progress: Progress = silent,
) -> Evaluation:
    """Measure a model's accuracy on annotated images, as `agent.py evaluate` does.

    :param model: a bundle, by its name in models/ or its folder; or a Darknet cfg, with `weights`.
    :param annotations: COCO's JSON file, or a folder of VOC's .xml or YOLO's .txt files.
    :return: AP values in points, 0 to 100.
    :raises UserError: a file is missing or wrong, or the engine is not there.
    """
    listed = None if names is None else read_names(Path(names))
    files = find(str(model)) if weights is None else ModelFiles(Path(model), Path(weights), listed)
    sides = (size, size) if isinstance(size, int) else size
    config = EvaluateConfig(files, Path(images), Path(annotations), sides, engine, precision)
    return evaluate_config(config, progress)


def arena(
    profile: str | Path = "doom.yaml",
    *,
    episodes: int = 20,
    seed: int = 7,
    baselines: Sequence[str] = (),
    controllers: Sequence[str] = (),
    scenarios: Sequence[str] = (),
    latencies_ms: Sequence[float] = (0.0,),
    drop: float = 0.0,
    noise_px: float = 0.0,
    engine: str | None = None,
    precisions: Sequence[str] = (),
    processes: int | None = None,
    overrides: Sequence[str] = (),
    plugins: Sequence[str | Path] = (),
    progress: Progress = silent,
) -> ArenaResult:
    """Play a profile's game many times and score it, as `agent.py arena` does.

    :param baselines: `oracle` (the ground truth), `random` (chance).
    :param controllers: with which agent and oracle play, a player each; the profile's own by default.
    :param latencies_ms: injected latencies; every one is played with all players.
    :return: rows with 95 % intervals, and the score of each episode.
    :raises UserError: the profile cannot be played in the arena.
    """
    return arena_config(
        ArenaConfig(
            find_profile(str(profile)),
            tuple(Path(path) for path in plugins),
            tuple(overrides),
            episodes,
            tuple(baselines),
            tuple(controllers),
            tuple(scenarios),
            seed=seed,
            latencies_ms=tuple(latencies_ms),
            drop=drop,
            noise_px=noise_px,
            engine=engine,
            precisions=tuple(precisions),
            processes=processes,
        ),
        progress,
    )


def compare(
    profiles: Sequence[str | Path],
    *,
    episodes: int = 20,
    seed: int = 7,
    unpaired: bool = False,
    scenarios: Sequence[str] = (),
    processes: int | None = None,
    overrides: Sequence[str] = (),
    plugins: Sequence[str | Path] = (),
    progress: Progress = silent,
) -> Contest:
    """Play two profiles or more on the same seeds and say what differs, as `agent.py arena --compare` does.

    :param unpaired: give each profile seeds of its own.
    :return: each profile's result, and of each but the first how every measure differs from the first's.
    :raises UserError: a profile cannot be played in the arena.
    """
    paths = [find_profile(str(profile)) for profile in profiles]
    config = ArenaConfig(
        paths[0] if paths else Path(),
        tuple(Path(path) for path in plugins),
        tuple(overrides),
        episodes,
        scenarios=tuple(scenarios),
        seed=seed,
        processes=processes,
    )
    return contests.play(contests.profiles(config, paths, unpaired), unpaired, progress)


def _path(given: str | Path | None) -> Path | None:
    return None if given is None else Path(given)
