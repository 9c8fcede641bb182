"""A detector that is scored against the truth while it plays, and whose answers can be made late, lost or wrong."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from agent.roles import Detector, Environment, Stateful
from agent.types import Detections, Frame
from core.geometry import iou
from evaluation.aiming import Overshoot

ON_TARGET = 0.5
"""IoU at which a detection counts as one of the truth."""

Focal = Callable[[float], float]
"""From a frame's width to the distance of its plane from the eye, both in pixels."""


@dataclass(frozen=True)
class Disturbance:
    """What is done to a detector's answers, as a slow or poor one would do it.

    `latency_ms` by which they are late, `jitter_ms` more by chance; `drop`, the part that is lost; `noise_px` by which
    boxes are off, standard deviation.
    """

    latency_ms: float = 0.0
    jitter_ms: float = 0.0
    drop: float = 0.0
    noise_px: float = 0.0


NO_DISTURBANCE = Disturbance()


@dataclass
class Observed:
    """What is counted in an episode, frame by frame."""

    errors: list[float] = field(default_factory=list)
    overshoot: Overshoot = field(default_factory=Overshoot)
    truths: int = 0
    found: int = 0
    detections: int = 0
    right: int = 0

    def measures(self) -> dict[str, float | None]:
        """Return aim error, overshoot, recall and precision; None where there is nothing to divide by."""
        errors = np.array(self.errors)
        return {
            "aim_error_px": float(errors.mean()) if len(errors) else None,
            "aim_error_p95_px": float(np.percentile(errors, 95)) if len(errors) else None,
            "overshoot_deg": float(np.mean(self.overshoot.values)) if self.overshoot.values else None,
            "recall": self.found / self.truths if self.truths else None,
            "precision": self.right / self.detections if self.detections else None,
        }

    def compare(self, seen: Detections, truth: Detections) -> None:
        """Count what was found of the truth, and what of the found is true."""
        self.truths += len(truth)
        self.detections += len(seen)
        if not len(truth) or not len(seen):
            return
        overlap = iou(seen.xyxy, truth.xyxy)
        self.found += int((overlap.max(axis=0) >= ON_TARGET).sum())
        self.right += int((overlap.max(axis=1) >= ON_TARGET).sum())


class ScoredDetector:
    """Late means that the loop gets the answer to an older frame, as a slow network or wire would have it.

    :param focal: turns aim errors into degrees; None where nothing is calibrated.
    """

    def __init__(
        self,
        detector: Detector,
        world: Environment,
        disturbance: Disturbance,
        seed: int,
        observed: Observed,
        focal: Focal | None,
    ) -> None:
        self.names = detector.names
        self._inner = detector
        self._detect = detector.detect
        self._world = world
        self._disturbance = disturbance
        self._observed = observed
        self._focal = focal
        self._rng = np.random.default_rng([seed, 17])
        self._answers: list[Detections] = []
        self._lag, self._jitter = (
            round(ms / 1e3 / world.step_s) for ms in (disturbance.latency_ms, disturbance.jitter_ms)
        )

    def begin(self, episode: int) -> None:
        """Forget all answers: a new episode begins."""
        self._answers = []
        if isinstance(self._inner, Stateful):
            self._inner.begin(episode)

    def detect(self, frame: Frame) -> Detections:
        """Return what the loop is to act on."""
        truth = self._world.truth(frame)
        seen = self._detect(frame)
        self._observed.compare(seen, truth)
        self._aim(frame, truth)
        disturbance = self._disturbance
        if disturbance.drop and self._rng.random() < disturbance.drop:
            seen = Detections.empty()
        elif disturbance.noise_px and len(seen):
            shift = self._rng.normal(0, disturbance.noise_px, (len(seen), 2)).astype(np.float32)
            seen = Detections(seen.xyxy + np.concatenate((shift, shift), axis=1), seen.confidence, seen.class_id)
        self._answers.append(replace(seen, at_ns=frame.at_ns))
        lag = self._lag
        if self._jitter:
            lag += int(self._rng.integers(0, self._jitter + 1))
        del self._answers[: -(self._lag + self._jitter + 1)]
        return self._answers[-1 - lag] if len(self._answers) > lag else Detections.empty()

    def _aim(self, frame: Frame, truth: Detections) -> None:
        observed = self._observed
        if not len(truth):
            observed.overshoot.add(None)
            return
        centres = (truth.xyxy[:, 0] + truth.xyxy[:, 2]) / 2 - frame.width / 2
        error = float(centres[np.argmin(np.abs(centres))])
        observed.errors.append(abs(error))
        if self._focal is not None:
            observed.overshoot.add(math.degrees(math.atan(error / self._focal(frame.width))))
