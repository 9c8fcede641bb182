"""Observer `recorder`: frames, detections, decisions and timings of a run in a folder. `--record DIR` adds it.

docs/reports.md describes the form. The capture `footage` plays such a folder again, with each frame's own number,
episode, origin and time, so that it decides the same in lock-step.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from agent.context import Context
from agent.factories import ObserverFactory, PluginSettings
from agent.hookspecs import hookimpl
from agent.recording import EVENTS, INFO, PROFILE, VERSION, row, video_of
from agent.types import FrameEvent
from core.errors import UserError
from core.files import PendingFolder, cannot_write
from core.video import VideoFile

CODECS = {"ffv1": ("FFV1", "mkv"), "huffyuv": ("HFYU", "avi"), "mp4v": ("mp4v", "mp4")}


class Settings(PluginSettings):
    """Where the recording goes, and how its frames are kept."""

    path: Path = Field(description="The folder, which is made.")
    codec: Literal["auto", "ffv1", "huffyuv", "mp4v"] = Field(
        "auto",
        description="`ffv1` and `huffyuv` lose nothing (huffyuv: an eighth of the time, twice the room); `auto` is "
        "huffyuv where time is real, ffv1 in lock-step; `mp4v` is small, and its frames are not those that were seen.",
    )
    fps: float = Field(60.0, gt=0, le=1000, description="What a video player shows it at; times are kept apart.")


class RecorderObserver:
    """Writes on the observers' thread; the folder is complete or not there.

    :raises UserError: the folder is there already, or cannot be written.
    """

    def __init__(self, settings: Settings, context: Context) -> None:
        self._path = context.path(settings.path)
        codec = settings.codec
        if codec == "auto":
            codec = "ffv1" if context.lock_step else "huffyuv"
        self._codec, suffix = CODECS[codec]
        self._fps = settings.fps
        self._pending = PendingFolder(self._path)
        folder = self._pending.path
        try:
            self._events = (folder / EVENTS).open("w", encoding="utf-8")
            if context.profile is not None:
                shutil.copyfile(context.profile, folder / PROFILE)
        except OSError as error:
            self._pending.discard()
            raise cannot_write(self._path, error) from error
        self._video = folder / video_of(suffix)
        self._writer: VideoFile | None = None
        self._size = (0, 0)
        self._frames = 0
        self._broken = False
        self._info: dict[str, Any] = {
            "version": VERSION,
            "names": list(context.names),
            "seed": context.seed,
            "lock_step": context.lock_step,
            "codec": codec,
            "lossless": codec != "mp4v",
        }

    def observe(self, event: FrameEvent) -> None:
        """Write one frame."""
        if event.pixels is None:
            return
        size = (event.frame.width, event.frame.height)
        if self._writer is None:
            self._size = size
            self._writer = VideoFile(self._video, self._path, self._codec, self._fps, size)
        if self._broken:
            return
        self._broken = True  # until this frame is whole
        self._writer.write(np.ascontiguousarray(event.pixels[:, :, :3]))
        self._events.write(json.dumps(row(event), separators=(",", ":")) + "\n")
        self._broken = False
        self._frames += 1

    def close(self) -> None:
        """Put the folder in its place.

        :raises UserError: a frame could not be written; then nothing is left of it.
        """
        try:
            self._complete()
        except OSError as error:
            raise cannot_write(self._path, error) from error
        finally:
            with contextlib.suppress(OSError):
                self._events.close()
            self._pending.discard()

    def _complete(self) -> None:
        if self._writer is None:
            return
        self._events.close()
        self._writer.close()
        if self._broken:
            raise UserError(f"{self._path}: a frame could not be recorded, so nothing is left of this recording")
        self._info |= {"frames": self._frames, "width": self._size[0], "height": self._size[1]}
        (self._pending.path / INFO).write_text(json.dumps(self._info, indent=2) + "\n", encoding="utf-8")
        self._pending.commit()


@hookimpl
def reticle_observer() -> ObserverFactory:
    """Offer `recorder`."""
    return ObserverFactory(
        "recorder",
        RecorderObserver,
        Settings,
        "frames, detections, decisions and timings in a folder",
        output="recording",
        wants_pixels=True,
    )
