"""Recordings: a run that is replayed decides the same, and two that differ say where."""

import json
from pathlib import Path

import numpy as np
import pytest

from agent.recording import difference, frames
from agent.types import Action, FrameEvent, Outcome
from core.errors import UserError
from plugins.observer.recorder import RecorderObserver, Settings
from plugins.observer.trace import Settings as TraceSettings
from plugins.observer.trace import TraceObserver
from plugins.selection.nearest import NearestSelection
from plugins.selection.nearest import Settings as NearestSettings
from tests.agent.fakes import context, detections, frame
from tests.conftest import ROOT


def record(folder: Path, count: int = 5, codec: str = "ffv1") -> list[np.ndarray]:
    """Write a recording of noise, with gaps in the frames' numbers as a live run has them."""
    rng = np.random.default_rng(0)
    observer = RecorderObserver(Settings(path=folder, codec=codec), context(names=("thing",)))
    pictures = []
    for i in range(count):
        now = frame(2 * i, 64, 48, origin=(10, 20), episode=i // 3, at_ns=1000 + i)
        now.pixels = rng.integers(0, 256, (48, 64, 4), np.uint8)
        pictures.append(now.pixels[:, :, :3].copy())
        found = detections((10.1, 10, 20, 30 + i))
        target = NearestSelection(NearestSettings(), context()).select(found, now)
        observer.observe(FrameEvent(now, found, target, Action(i, -i, 1), sent=True, moved=True, pixels=now.pixels))
    observer.close()
    return pictures


@pytest.mark.parametrize("codec", ["ffv1", "huffyuv"])
def test_frames_come_back_to_the_bit_with_their_numbers_and_times(tmp_path: Path, codec: str) -> None:
    pictures = record(tmp_path / "r", codec=codec)
    again = list(frames(tmp_path / "r"))
    assert [f.index for f in again] == [0, 2, 4, 6, 8]
    assert [f.episode for f in again] == [0, 0, 0, 1, 1]
    assert [f.at_ns for f in again] == [1000, 1001, 1002, 1003, 1004]
    assert again[0].origin == (10, 20)
    for one, other in zip(again, pictures, strict=True):
        assert np.array_equal(one.pixels, other)


def test_what_was_sent_and_what_moved_come_back(tmp_path: Path) -> None:
    record(tmp_path / "r")
    assert [f.recorded for f in frames(tmp_path / "r")] == [Outcome(True, True)] * 5
    lines = [json.loads(line) for line in (tmp_path / "r" / "events.jsonl").read_text().splitlines()]
    lines[1]["moved"] = False
    del lines[2]["moved"]  # as version 1 has it
    (tmp_path / "r" / "events.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert [f.recorded for f in frames(tmp_path / "r")][1:3] == [Outcome(True, False), Outcome(True, True)]


def test_it_is_complete_or_not_there(tmp_path: Path) -> None:
    observer = RecorderObserver(Settings(path=tmp_path / "r"), context())
    assert not (tmp_path / "r").exists()
    observer.close()
    assert list(tmp_path.iterdir()) == []
    record(tmp_path / "r")
    with pytest.raises(UserError, match="this exists already"):
        RecorderObserver(Settings(path=tmp_path / "r"), context())


def test_where_two_part_and_why(tmp_path: Path) -> None:
    record(tmp_path / "a")
    record(tmp_path / "b")
    assert difference(tmp_path / "a", tmp_path / "b") is None
    lines = (tmp_path / "b" / "events.jsonl").read_text().splitlines()
    changed = json.loads(lines[3])
    changed["action"][0] += 1
    (tmp_path / "b" / "events.jsonl").write_text("\n".join([*lines[:3], json.dumps(changed), *lines[4:]]) + "\n")
    assert difference(tmp_path / "a", tmp_path / "b") == (6, "action: [3, -3, 1, null] and [4, -3, 1, null]")
    (tmp_path / "b" / "events.jsonl").write_text("\n".join(lines[:3]) + "\n")
    assert difference(tmp_path / "a", tmp_path / "b") == (3, "one has 5 frames, the other 3")
    with pytest.raises(UserError, match="the recording cannot be read: No such file"):
        difference(tmp_path / "a", tmp_path)


def test_a_damaged_one_is_one_sentence(tmp_path: Path) -> None:
    record(tmp_path / "r")
    video = next((tmp_path / "r").glob("frames.*"))
    data = video.read_bytes()
    video.write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match="breaks off before its 5 frames"):
        list(frames(tmp_path / "r"))
    info = json.loads((tmp_path / "r" / "recording.json").read_text())
    (tmp_path / "r" / "recording.json").write_text(json.dumps(info | {"version": 99}))
    with pytest.raises(UserError, match="a recording of version 99"):
        list(frames(tmp_path / "r"))


def test_a_run_replays_to_the_same_decisions(agent, tmp_path: Path) -> None:
    text = (ROOT / "profiles" / "doom.yaml").read_text()
    (tmp_path / "p.yaml").write_text(text.replace("engine: auto", "engine: openvino\n  precision: int8"))
    done = agent("--profile", "p.yaml", "--duration", 4, "--record", "r", "--report", "a.json", "--trace", "t.pftrace")
    assert done.returncode == 0, done.stderr
    first = json.loads((tmp_path / "a.json").read_text())
    for i in range(2):
        again = agent("--profile", "p.yaml", "--footage", "r", "--report", f"b{i}.json", "--record", f"again{i}")
        assert again.returncode == 0, again.stderr
        report = json.loads((tmp_path / f"b{i}.json").read_text())
        assert report["decisions"] == first["decisions"]
        assert report["frames"] == first["frames"] > 10
    assert agent("replay", "--diff", "r", "again0").returncode == 0
    assert (tmp_path / "r" / "profile.yaml").read_text() == (tmp_path / "p.yaml").read_text()
    slices, threads, instants = parsed(tmp_path / "t.pftrace")
    assert threads == {"capture", "loop", "observers"}
    assert {"grab", "frame", "preprocess", "infer", "postprocess", "select", "act"} <= set(slices)
    assert len(slices["infer"]) == first["frames"]
    assert all(end >= start for spans in slices.values() for start, end in spans)
    assert any(name.startswith("act ") for name in instants)


def parsed(path: Path) -> tuple[dict[str, list[tuple[int, int]]], set[str], list[str]]:
    """A trace as Perfetto's own messages read it: slices by name, thread names, instants."""
    from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import Trace, TrackEvent

    trace = Trace()
    trace.ParseFromString(path.read_bytes())
    threads: set[str] = set()
    begun: dict[int, list[tuple[str, int]]] = {}
    slices: dict[str, list[tuple[int, int]]] = {}
    instants: list[str] = []
    for packet in trace.packet:
        if packet.HasField("track_descriptor"):
            threads.add(packet.track_descriptor.thread.thread_name)
        event = packet.track_event
        if event.type == TrackEvent.TYPE_SLICE_BEGIN:
            begun.setdefault(event.track_uuid, []).append((event.name, packet.timestamp))
        elif event.type == TrackEvent.TYPE_SLICE_END:
            name, start = begun[event.track_uuid].pop()
            slices.setdefault(name, []).append((start, packet.timestamp))
        elif event.type == TrackEvent.TYPE_INSTANT:
            instants.append(event.name)
    assert not any(begun.values()), "a slice was not ended"
    return slices, threads - {""}, instants


def test_a_trace_shows_the_frames_that_were_dropped(tmp_path: Path) -> None:
    observer = TraceObserver(TraceSettings(path=tmp_path / "t"), context())
    for index in (0, 1, 5):
        now = frame(index)
        now.taken_ns = now.decoded_ns = now.selected_ns = now.acted_ns = now.grabbed_ns
        observer.observe(FrameEvent(now, detections(), None, Action(), sent=False, moved=False))
    observer.close()
    assert parsed(tmp_path / "t")[2] == ["dropped 3"]
    assert [path.name for path in tmp_path.iterdir()] == ["t"]
