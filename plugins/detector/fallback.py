"""A smaller network to fall back on in a live run, when the game takes too much of the card or processor."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from agent.roles import Detector, Stateful, described
from agent.types import Detections, Frame

WINDOW, MOST_LATE = 200, 2
"""Of so many frames, how many may take longer than the budget: with more the 99th percentile is above it."""
SETTLING = 60
"""Frames at a run's start that are not looked at: caches are cold and clocks low."""

log = logging.getLogger("reticle")


class Fallback(BaseModel):
    """When to change to which size."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    size: int | tuple[int, int] = Field(description="The smaller network's input, a side or width and height, pixels.")
    budget_ms: float = Field(
        gt=0,
        description="The detector's time for a frame, milliseconds; the run changes to the smaller size, and stays "
        "there, when more than 1 % of 200 frames take longer.",
    )


class FallbackDetector:
    """Runs a network until it takes too long, and a smaller one from then on; both are loaded when the run starts."""

    def __init__(
        self, first: Detector, smaller: Detector, fallback: Fallback, clock: Callable[[], int] = time.perf_counter_ns
    ) -> None:
        self.names = first.names
        self._clock = clock
        self._first = self._active = first
        self._smaller = smaller
        self._fallback = fallback
        self._budget_ns = int(fallback.budget_ms * 1e6)
        self._late = np.zeros(WINDOW, bool)
        self._count = self._frames = 0
        self._since: int | None = None

    def begin(self, episode: int) -> None:
        """Let the first network forget what it keeps: a new episode begins."""
        if isinstance(self._first, Stateful):
            self._first.begin(episode)

    def detect(self, frame: Frame) -> Detections:
        """Return the boxes in the frame, best first."""
        begin_ns = self._clock()
        found = self._active.detect(frame)
        if self._since is None:
            self._watch(self._clock() - begin_ns > self._budget_ns)
        return found

    def _watch(self, late: bool) -> None:
        self._frames += 1
        if self._frames <= SETTLING:
            return
        place = self._frames % WINDOW
        self._count += late - int(self._late[place])
        self._late[place] = late
        if self._count > MOST_LATE:
            self._since, self._active = self._frames, self._smaller
            size = self._fallback.size
            width, height = (size, size) if isinstance(size, int) else size
            log.warning(
                "more than 1 %% of frames took the network longer than %g ms: after %d frames it runs at %dx%d",
                *(self._fallback.budget_ms, self._frames, width, height),
            )

    def describe(self) -> Mapping[str, Any]:
        """Return what the first network says."""
        return described(self._first)

    def fallback(self) -> dict[str, Any]:
        """Return the settings, engine and precision of the smaller network, and after how many frames it came."""
        said = described(self._smaller)
        ran = {key: said.get(key) for key in ("engine", "precision")}
        return {**self._fallback.model_dump(mode="json"), **ran, "after_frames": self._since}
