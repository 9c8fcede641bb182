"""Observer `trace`: a native Perfetto trace of the run's threads and stages. `--trace FILE` adds it.

Open it at ui.perfetto.dev, which reads the file in the browser and sends it nowhere. Times are those of the frames
(CLOCK_MONOTONIC on Linux), so nothing is measured twice. Source: Perfetto's TrackEvent documentation.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from pydantic import Field

from agent.context import Context
from agent.factories import ObserverFactory, PluginSettings
from agent.hookspecs import hookimpl
from agent.types import Frame, FrameEvent
from core.command import COMMAND
from core.errors import UserError
from core.files import PendingFile, cannot_write

TRACKS = {1: "capture", 2: "loop", 3: "observers"}
CAPTURE, LOOP, OBSERVERS = TRACKS
PROCESS = 10
SEQUENCE = 1
MONOTONIC = 3
"""Perfetto's number of CLOCK_MONOTONIC."""


class Settings(PluginSettings):
    """Where the trace goes."""

    path: Path = Field(description="The trace, such as run.perfetto-trace.")


class TraceObserver:
    """Writes slices of each frame's stages; the file is complete or not there.

    :raises UserError: the file cannot be written, or the package perfetto is not installed.
    """

    def __init__(self, settings: Settings, context: Context) -> None:
        try:
            from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import Trace, TrackEvent
        except ImportError as error:
            extra = COMMAND.replace("uv run", "uv run --extra trace")
            raise UserError(f"a trace needs the package perfetto, the extra `trace`: {extra} ...") from error

        self._trace = Trace
        self._kinds = TrackEvent
        self._next_index = 0
        self._broken = False
        self._pending = PendingFile(context.path(settings.path))
        self._file = self._pending.open()
        self._describe()

    def observe(self, event: FrameEvent) -> None:
        """Write one frame's slices, and the frames that were dropped before it."""
        if self._broken:
            return
        self._broken = True  # until this frame is whole
        began_ns = time.perf_counter_ns()
        frame = event.frame
        out = self._trace()
        lost = frame.index - self._next_index
        if lost > 0:
            self._instant(out, CAPTURE, frame.grab_ns, f"dropped {lost}")
        self._next_index = frame.index + 1
        self._slice(out, CAPTURE, "grab", frame.grab_ns, frame.grabbed_ns, frame=frame.index)
        self._slice(out, LOOP, "frame", frame.taken_ns, frame.acted_ns, frame=frame.index, episode=frame.episode)
        for name, start, end in stages(frame):
            self._slice(out, LOOP, name, start, end)
        if event.sent:
            action = event.action
            self._instant(out, LOOP, frame.acted_ns, f"act {action.dx} {action.dy} {action.buttons}")
        elif event.veto is not None:
            self._instant(out, LOOP, frame.acted_ns, f"veto by {event.veto[0]}")
        self._slice(out, OBSERVERS, "trace", began_ns, time.perf_counter_ns())
        self._file.write(out.SerializeToString())
        self._broken = False

    def close(self) -> None:
        """Put the trace in its place.

        :raises UserError: it is not whole; then nothing is left of it.
        """
        try:
            self._file.close()
            if self._broken:
                raise UserError(f"{self._pending.target}: a frame could not be traced; nothing is left of it")
            self._pending.commit()
        except OSError as error:
            raise cannot_write(self._pending.target, error) from error
        finally:
            self._pending.discard()

    def _describe(self) -> None:
        out = self._trace()
        packet = self._packet(out, 0)
        packet.sequence_flags = 1  # SEQ_INCREMENTAL_STATE_CLEARED
        packet.track_descriptor.uuid = PROCESS
        packet.track_descriptor.process.pid = os.getpid()
        packet.track_descriptor.process.process_name = "reticle"
        for track, name in TRACKS.items():
            descriptor = self._packet(out, 0).track_descriptor
            descriptor.uuid, descriptor.parent_uuid = track, PROCESS
            descriptor.thread.pid, descriptor.thread.tid = os.getpid(), os.getpid() + track
            descriptor.thread.thread_name = name
        self._file.write(out.SerializeToString())

    def _packet(self, out: Any, at_ns: int) -> Any:
        packet = out.packet.add()
        packet.trusted_packet_sequence_id = SEQUENCE
        packet.timestamp = at_ns
        packet.timestamp_clock_id = MONOTONIC
        return packet

    def _slice(self, out: Any, track: int, name: str, start_ns: int, end_ns: int, **numbers: int) -> None:
        begin = self._packet(out, start_ns).track_event
        begin.type, begin.track_uuid, begin.name = self._kinds.TYPE_SLICE_BEGIN, track, name
        for key, value in numbers.items():
            note = begin.debug_annotations.add()
            note.name, note.int_value = key, value
        end = self._packet(out, end_ns).track_event
        end.type, end.track_uuid = self._kinds.TYPE_SLICE_END, track

    def _instant(self, out: Any, track: int, at_ns: int, name: str) -> None:
        event = self._packet(out, at_ns).track_event
        event.type, event.track_uuid, event.name = self._kinds.TYPE_INSTANT, track, name


def stages(frame: Frame) -> list[tuple[str, int, int]]:
    """Return name, start and end of each stage of a frame in the loop, nanoseconds."""
    found = [("select", frame.decoded_ns, frame.selected_ns), ("act", frame.selected_ns, frame.acted_ns)]
    if not frame.preprocessed_ns:  # a detector that does not time its stages
        return [("infer", frame.taken_ns, frame.decoded_ns), *found]
    return [
        ("preprocess", frame.taken_ns, frame.preprocessed_ns),
        ("infer", frame.preprocessed_ns, frame.inferred_ns),
        ("postprocess", frame.inferred_ns, frame.decoded_ns),
        *found,
    ]


@hookimpl
def reticle_observer() -> ObserverFactory:
    """Offer `trace`."""
    return ObserverFactory("trace", TraceObserver, Settings, "a Perfetto trace of threads and stages", output="trace")
