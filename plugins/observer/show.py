"""Observer `show`: a window with the boxes, the target and the crosshair. `--show` adds it."""

from __future__ import annotations

import cv2
import numpy as np
from pydantic import Field

from agent.drawing import draw_aim, draw_detections
from agent.errors import UserError
from agent.hookspecs import Context, Maker, PluginSettings, hookimpl
from agent.types import FrameEvent


class Settings(PluginSettings):
    """How the window looks."""

    scale: float = Field(1.0, gt=0, le=8, description="The window's size as a multiple of the frame's.")


class ShowObserver:
    """Draws on a copy of the frame, on the observers' thread.

    :raises UserError: OpenCV was built without windows, or there is no display.
    """

    def __init__(self, settings: Settings, context: Context) -> None:
        self._scale = settings.scale
        self._names = context.names
        self._crosshair = context.crosshair
        self._title = "Reticle"
        if "GUI:                           NONE" in cv2.getBuildInformation():
            raise UserError(
                "--show needs an OpenCV with windows, and Linux gets the one without by default: run "
                "`uv pip install --reinstall opencv-python` (and `apt install libgl1 libxcb1`), then start with "
                "`uv run --no-sync agent.py`"
            )

    def observe(self, event: FrameEvent) -> None:
        """Show one frame."""
        if event.pixels is None:
            return
        picture = np.ascontiguousarray(event.pixels[:, :, :3])
        draw_detections(picture, event.detections, self._names)
        draw_aim(picture, event.target, self._crosshair)
        if self._scale != 1:
            picture = cv2.resize(picture, None, fx=self._scale, fy=self._scale)
        cv2.imshow(self._title, picture)
        cv2.waitKey(1)

    def close(self) -> None:
        """Close the window."""
        cv2.destroyAllWindows()


@hookimpl
def reticle_observer() -> Maker:
    """Offer `show`."""
    return Maker(
        "show",
        ShowObserver,
        Settings,
        "a window with boxes, target and crosshair",
        duties=frozenset({"window"}),
        wants_pixels=True,
    )
