"""Observer `show`: a window with the boxes, the target and the crosshair. `--show` adds it."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from pydantic import Field

from agent.context import Context
from agent.drawing import Canvas
from agent.factories import ObserverFactory, PluginSettings
from agent.hookspecs import hookimpl
from agent.types import FrameEvent
from core.errors import UserError

NO_DISPLAY = "the window needs a display to open on: start it in a desktop session, with DISPLAY set"


class Settings(PluginSettings):
    """How the window looks."""

    scale: float = Field(1.0, gt=0, le=8, description="The window's size as a multiple of the frame's.")
    max_fps: float = Field(30.0, gt=0, description="Draw no more pictures a second than this.")


class ShowObserver:
    """Draws on a copy of the frame, on the observers' thread. Closing the window ends the run.

    The window is pygame's (SDL), since the OpenCV that a bare Linux can load has none.

    :raises UserError: there is no display.
    """

    def __init__(self, settings: Settings, context: Context) -> None:
        if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            raise UserError(NO_DISPLAY)
        os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
        import pygame

        self._pygame = pygame
        self._scale = settings.scale
        self._period_s = 1 / settings.max_fps
        self._next_s = 0.0
        self._canvas = Canvas(context.names, context.crosshair)
        self._panic = context.panic
        self._window: Any = None  # made by the thread that draws, which SDL wants to be the one that asked
        try:
            pygame.display.init()
            driver = pygame.display.get_driver()
        except pygame.error as error:
            raise UserError(f"no window can be opened: {error}") from error
        finally:
            pygame.display.quit()
        if driver in ("offscreen", "dummy"):
            raise UserError(NO_DISPLAY)

    def observe(self, event: FrameEvent) -> None:
        """Show one frame, unless the last one was shown just now."""
        now = time.monotonic()
        if event.pixels is None or now < self._next_s:
            return
        self._next_s = now + self._period_s
        picture = self._canvas.drawn(event)
        pygame = self._pygame
        height, width = picture.shape[:2]
        size = (round(width * self._scale), round(height * self._scale))
        if self._window is None or self._window.get_size() != size:
            pygame.display.init()
            self._window = pygame.display.set_mode(size)
            pygame.display.set_caption("Reticle")
        image = pygame.image.frombuffer(picture, (width, height), "BGR")
        self._window.blit(image if self._scale == 1 else pygame.transform.scale(image, size), (0, 0))
        pygame.display.flip()
        if any(happened.type == pygame.QUIT for happened in pygame.event.get()):
            self._panic("the window was closed")

    def close(self) -> None:
        """Close the window."""
        self._pygame.display.quit()


@hookimpl
def reticle_observer() -> ObserverFactory:
    """Offer `show`."""
    return ObserverFactory(
        "show",
        ShowObserver,
        Settings,
        "a window with boxes, target and crosshair",
        output="window",
        wants_pixels=True,
    )
