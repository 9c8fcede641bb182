"""What plugins return, checked where it comes in: one sentence names plugin, method, what was expected and what came.

Types, class range and times are checked on every frame; dtypes, shapes and finite values fully on the first frames and
then on every `INTERVAL`-th, since a look at every number of every frame would cost more than the loop itself.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from agent.types import Action, Detections, Frame, Target
from core.errors import UserError, summary

INTERVAL = 64
OLDEST_NS = 3_600_000_000_000
"""A grab that began longer ago than this, an hour, was not timed by `time.perf_counter_ns()`."""


class PluginError(UserError):
    """A plugin returned what its role does not allow, or raised."""


class Border:
    """Checks one run's frames, detections, targets and actions.

    :param names: what each role's plugin is called in messages: capture, detector, selection, controller.
    :param classes: the detector's class names.
    """

    def __init__(self, names: dict[str, str], classes: Sequence[str]) -> None:
        self.names = names
        self._classes = len(classes)
        self._left = dict.fromkeys(("capture", "detector", "selection", "controller"), 0)
        self._at_ns = self._episode = -1

    def raised(self, role: str, method: str, error: Exception) -> UserError:
        """Return an exception of a plugin as one sentence; its own sentences stay as they are."""
        if isinstance(error, UserError):
            return error
        return PluginError(f"{self.names[role]}: {method} raised {summary(error)}")

    def frame(self, frame: Frame) -> None:
        """Check what `grab` returned.

        :raises PluginError: it is no frame, or has another dtype, shape or clock.
        """
        if type(frame) is not Frame:
            raise self._error("capture", "grab", "a Frame or None", frame)
        if frame.episode != self._episode:
            self._episode, self._at_ns = frame.episode, -1
        if frame.at_ns < self._at_ns:
            raise self._error("capture", "grab", f"at_ns of {self._at_ns} or later, as before", frame.at_ns)
        self._at_ns = frame.at_ns
        if self._due("capture"):
            pixels = frame.pixels
            if not (
                isinstance(pixels, np.ndarray)
                and pixels.dtype == np.uint8
                and pixels.ndim == 3
                and pixels.shape[2] in (3, 4)
                and pixels.size
            ):
                raise self._error("capture", "grab", "pixels uint8 (height, width, 3 or 4)", _array(pixels))
            now = time.perf_counter_ns()
            if not (now - OLDEST_NS < frame.grab_ns <= frame.grabbed_ns <= now):
                raise self._error(
                    "capture", "grab", "grab_ns and grabbed_ns of time.perf_counter_ns(), in this order",
                    f"{frame.grab_ns} and {frame.grabbed_ns} at {now}",
                )  # fmt: skip

    def detections(self, found: Detections, frame: Frame) -> None:
        """Check what `detect` returned.

        :raises PluginError: it is no Detections, has a class that the detector does not name, a value that is not
            finite, or a time after the frame's.
        """
        if type(found) is not Detections:
            raise self._error("detector", "detect", "Detections", found)
        if found.at_ns > frame.at_ns:
            raise self._error("detector", "detect", f"at_ns not after the frame's {frame.at_ns}", found.at_ns)
        if not len(found):
            return
        classes = found.class_id.tolist()
        if min(classes) < 0 or max(classes) >= self._classes:
            wrong = next(c for c in classes if not 0 <= c < self._classes)
            raise self._error("detector", "detect", f"class_id from 0 to {self._classes - 1}", f"class {wrong}")
        if self._due("detector") and not (np.isfinite(found.xyxy).all() and np.isfinite(found.confidence).all()):
            raise self._error("detector", "detect", "finite boxes and confidences", "a value that is not")

    def target(self, target: Target | None) -> None:
        """Check what `select` returned.

        :raises PluginError: it is neither a Target nor None, or its aim error is not finite.
        """
        if target is None:
            return
        if type(target) is not Target:
            raise self._error("selection", "select", "a Target or None", target)
        if not math.isfinite(target.error_x + target.error_y):
            raise self._error("selection", "select", "a finite aim error", f"({target.error_x}, {target.error_y})")

    def action(self, action: Action) -> None:
        """Check what `decide` returned.

        :raises PluginError: it is no Action, or its counts or buttons are no whole numbers.
        """
        if type(action) is not Action:
            raise self._error("controller", "decide", "an Action", action)
        if not (type(action.dx) is type(action.dy) is type(action.buttons) is int):
            kinds = f"{type(action.dx).__name__}, {type(action.dy).__name__} and {type(action.buttons).__name__}"
            raise self._error("controller", "decide", "dx, dy and buttons of type int", kinds)

    def _due(self, role: str) -> bool:
        left = self._left[role]
        self._left[role] = left - 1 if left else INTERVAL
        return not left

    def _error(self, role: str, method: str, expected: str, came: Any) -> PluginError:
        shown = came if isinstance(came, str | int) else f"{type(came).__name__} ({came!r})"
        return PluginError(f"{self.names[role]}: {method} must return {expected}, and returned {str(shown)[:160]}")


def _array(value: Any) -> str:
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__


def check_names(name: str, names: Any) -> tuple[str, ...]:
    """Return a detector's class names as a tuple.

    :raises PluginError: they are no texts.
    """
    if isinstance(names, str) or not all(isinstance(n, str) for n in names):
        raise PluginError(f"{name}: names must be a tuple of texts, not {str(names)[:80]!r}")
    return tuple(names)
