"""Building a TensorRT engine from a graph: strongly typed, with its layer plan beside it. Needs no GPU for RTX."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any

import onnx

from core.errors import UserError
from core.progress import Progress
from engine import tensorrt_api

GIB = 1 << 30


@dataclass(frozen=True)
class PlanLayer:
    """One kernel of an engine, as its builder planned it.

    `kind` is TensorRT's word for it; `inputs` and `output` are data types, Float, Half, Int8; `onnx` are the graph's
    layers that were fused into it.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    output: str
    onnx: tuple[str, ...]


@dataclass(frozen=True)
class Built:
    """A serialized engine and its plan."""

    data: bytes
    version: str
    layers: tuple[PlanLayer, ...]

    def plan(self) -> list[dict[str, Any]]:
        """Return the layers as JSON."""
        return [asdict(layer) for layer in self.layers]


def build(
    name: str,
    graph: onnx.ModelProto,
    progress: Progress,
    batch: tuple[int, int] | None = None,
    workspace_gb: float | None = None,
    version_compatible: bool = False,
) -> Built:
    """Build an engine.

    The graph's own types are the precision: float32 is computed as such (TF32 is off), float16 and int8 where the
    graph says so.

    :param name: `tensorrt` or `tensorrt-rtx`.
    :param batch: the usual and the largest batch, where the graph's is dynamic.
    :param version_compatible: for the lean runtime, of this version and later ones; without a copy of that inside.
    :raises UserError: TensorRT is not installed or refuses the graph.
    """
    trt = tensorrt_api.load(name)
    log = _log(trt)
    builder = trt.Builder(log)
    # Strong typing is the only mode from TensorRT 11 on, and there the flag may be missing.
    strong = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    network = builder.create_network(0 if strong is None else 1 << int(strong))
    parser = trt.OnnxParser(network, log)
    if not parser.parse(graph.SerializeToString()):
        reasons = "; ".join(str(parser.get_error(i).desc()) for i in range(min(3, parser.num_errors)))
        raise UserError(f"{name} cannot take the network: {reasons}")
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)
    if version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
        config.set_flag(trt.BuilderFlag.EXCLUDE_LEAN_RUNTIME)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    config.progress_monitor = _monitor(trt, progress)
    if workspace_gb is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, int(workspace_gb * GIB))
    if batch is not None:
        profile = builder.create_optimization_profile()
        shape = tuple(network.get_input(0).shape)[1:]
        profile.set_shape(network.get_input(0).name, (1, *shape), (batch[0], *shape), (batch[1], *shape))
        config.add_optimization_profile(profile)
    data = builder.build_serialized_network(network, config)
    if data is None:
        raise UserError(f"{name} cannot build the engine: {log.problems[-1] if log.problems else 'it says no reason'}")
    return Built(bytes(data), tensorrt_api.version(trt), tuple(parse_plan("\n".join(log.lines))))


def parse_plan(log: str) -> list[PlanLayer]:
    """Return the layers that a builder's verbose log lists."""
    _, _, plan = log.rpartition("\nLayers:\n")
    return [_layer(line) for line in plan.splitlines() if line.startswith("Name: ") and ", LayerType: " in line]


def _layer(line: str) -> PlanLayer:
    name, _, rest = line.removeprefix("Name: ").partition(", LayerType: ")
    kind = rest.split(",", 1)[0]
    inputs = _between(rest, "Inputs: [", "Constants: [") or _between(rest, "Inputs: [", "Outputs: [")
    outputs = _between(rest, "Outputs: [", "TacticName:")
    types = [_type(part) for part in (inputs, outputs)]
    return PlanLayer(
        name, kind, tuple(types[0]), (types[1] or ("",))[0], tuple(re.findall(r"\[ONNX Layer: ([^\]]+)\]", rest))
    )


def _between(text: str, start: str, end: str) -> str:
    _, found, rest = text.partition(start)
    return rest.partition(end)[0] if found else ""


def _type(text: str) -> list[str]:
    return re.findall(r"Datatype: (\w+)", text)


def _log(trt: Any) -> Any:
    """Return a logger that keeps what TensorRT says, all of it: the plan is only said at its most verbose."""

    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.lines: list[str] = []
            self.problems: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            self.lines.append(message)
            if severity <= trt.ILogger.Severity.ERROR:
                self.problems.append(message)

    return Log()


def _monitor(trt: Any, progress: Progress) -> Any:
    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._steps: dict[str, int] = {}

        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
            self._steps[phase] = steps
            progress(phase, 0, steps)

        def step_complete(self, phase: str, step: int) -> bool:
            progress(phase, step + 1, self._steps.get(phase, 0))
            return True

        def phase_finish(self, phase: str) -> None:
            steps = self._steps.pop(phase, 0)
            progress(phase, steps, steps)

    return Monitor()
