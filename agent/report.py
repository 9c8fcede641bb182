"""A run's result as JSON, as docs/reports.md describes it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from agent.session import Result
from core.provenance import provenance
from core.version import __version__


def as_json(result: Result) -> dict[str, Any]:
    """Return the run's report."""
    statistics = result.statistics
    seeds = [episode.seed for episode in result.episodes] or [result.setup.get("seed", 0)]
    return {
        "version": __version__,
        "provenance": provenance(
            profile=result.path,
            model=result.detector.get("model"),
            engine=result.detector.get("engine"),
            precision=result.detector.get("precision"),
            seeds=seeds,
        ),
        "profile": result.profile,
        "mode": result.mode,
        "ended": result.ended,
        "seconds": round((statistics.ended_ns - statistics.started_ns) / 1e9, 3),
        "frames": statistics.frames,
        "dropped": statistics.dropped,
        "duplicates": statistics.duplicates,
        "cropped": statistics.cropped,
        "detections": statistics.detections,
        "frames_with_detections": statistics.frames_with_detections,
        "classes": {_name(result, i): n for i, n in sorted(statistics.classes.items(), key=lambda item: -item[1])},
        "actions": result.actions,
        "vetoes": result.vetoes,
        "veto_reasons": [
            {"guard": guard, "reason": reason, "count": n} for (guard, reason), n in result.veto_reasons.items()
        ],
        "contention": {
            "alone_ms": round(statistics.alone_ns / 1e6, 4) if statistics.alone_ns else None,
            "frames": statistics.contended,
            "share": round(statistics.contended / max(1, statistics.frames - statistics.cropped), 4),
        },
        "fallback": result.fallback,
        "adapted": result.adapted,
        "watchdog_trips": result.watchdog_trips,
        "observer_drops": result.observer_drops,
        "observer_failures": result.observer_failures,
        "decisions": statistics.decisions,
        "detections_digest": statistics.found,
        "stages_ms": {name: stage.summary_ms() for name, stage in statistics.stages.items()},
        "end_to_end_ms": statistics.end_to_end.summary_ms(),
        "frame_age_ms": statistics.frame_age.summary_ms(),
        "histograms_ns": {
            **{name: stage.buckets() for name, stage in statistics.stages.items()},
            "end_to_end": statistics.end_to_end.buckets(),
            "frame_age": statistics.frame_age.buckets(),
        },
        "setup": result.setup,
        "measures": [asdict(measure) for measure in result.measures],
        "episodes": [
            {
                "scenario": episode.scenario,
                "seed": episode.seed,
                **episode.scores,
                "decisions": statistics.decisions_of(number),
            }
            for number, episode in enumerate(result.episodes)
        ],
    }


def _name(result: Result, class_id: int) -> str:
    return result.names[class_id] if class_id < len(result.names) else str(class_id)
