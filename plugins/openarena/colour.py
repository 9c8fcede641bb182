"""Detector `openarena-colour`: reads the truth off a picture whose players wear coloured skins (`skins: truth`).

It sees through the same screen as any other detector, so it bounds what one can do there.
"""

from __future__ import annotations

import numpy as np

from agent.context import Context
from agent.factories import DetectorFactory
from agent.hookspecs import hookimpl
from agent.types import Detections, Frame
from plugins.openarena import skins
from plugins.openarena.installation import locate
from plugins.openarena.settings import NAMES, Place


class ColourDetector:
    """Finds heads and bodies by their colours.

    :raises UserError: the game is not installed.
    """

    names = NAMES

    def __init__(self, settings: Place, context: Context) -> None:
        self._colours = skins.colours(locate(settings, context))
        self._colours.targets  # noqa: B018 made before the first frame

    def detect(self, frame: Frame) -> Detections:
        """Return who is seen."""
        seen = self._colours.seen(frame.pixels)
        if not len(seen.xyxy):
            return Detections.empty()
        return Detections(seen.xyxy, np.ones(len(seen.xyxy), np.float32), seen.class_id)


@hookimpl
def reticle_detector() -> DetectorFactory:
    """Offer `openarena-colour`."""
    return DetectorFactory(
        "openarena-colour", ColourDetector, Place, "OpenArena's players by the colours of `skins: truth`"
    )
