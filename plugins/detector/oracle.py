"""Detector `oracle`: the environment's own ground truth, as a detector without faults."""

from __future__ import annotations

from agent.context import Context
from agent.factories import DetectorFactory, NoSettings
from agent.hookspecs import hookimpl
from agent.types import Detections, Frame
from core.errors import UserError


class OracleDetector:
    """Passes on what the environment knows.

    :raises UserError: the capture is not an environment.
    """

    def __init__(self, settings: NoSettings, context: Context) -> None:
        if context.environment is None:
            raise UserError(
                "the detector oracle needs a capture that knows the ground truth, such as doom; "
                "use the detector yolo with other captures"
            )
        self._truth = context.environment.truth
        self.names = context.environment.names

    def detect(self, frame: Frame) -> Detections:
        """Return the ground truth of the frame."""
        return self._truth(frame)


@hookimpl
def reticle_detector() -> DetectorFactory:
    """Offer `oracle`."""
    return DetectorFactory("oracle", OracleDetector, NoSettings, "the ground truth of an environment such as doom")
