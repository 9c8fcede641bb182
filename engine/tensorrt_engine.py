"""The engines `tensorrt`, `tensorrt-rtx` and `tensorrt-lean`: running an engine that conversion has built.

Not executed on the machines this is developed on, which have no GPU that TensorRT for RTX takes. A test checks every
name and argument used here against the real module.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from core.command import COMMAND
from core.errors import UserError
from core.files import sha256, write_atomically
from core.precision import Precision
from core.text import read_json
from engine import tensorrt_api
from engine.cuda import Buffer, Recording, checked, gpu, runtime
from engine.engine import GraphStages, Model


def engine_name(runtime_name: str, precision: str) -> str:
    """Return the file name of an engine in its bundle; beside it lies the same with .json."""
    return f"{precision}.{runtime_name}.engine"


def load(model: Model, precision: Precision, stages: GraphStages, device: str) -> TensorRtEngine:
    """Load the bundle's engine, which has pre- and post-processing built in.

    :param device: `tensorrt`, `tensorrt-rtx` or `tensorrt-lean`.
    :raises UserError: there is no engine yet, or it was built for another GPU, version or size.
    """
    target = "tensorrt --version-compatible" if device == "tensorrt-lean" else device
    remedy = f'"{COMMAND} convert --model {model.folder} --precision {precision} --target {target}"'
    if model.folder is None:
        raise UserError(f"the engine {device} runs bundles; make one with `convert --target {target}`")
    path = model.folder / engine_name(device, precision)
    if not path.is_file():
        raise UserError(f"{path}: this bundle has no engine for {device} at {precision} yet: make it with {remedy}")
    if model.sha256.get(path.name) != sha256(path):
        raise UserError(f"{path}: the file is not the one the bundle was made with; make it again with {remedy}")
    made = read_json(path.with_suffix(".json"), "what the engine was made for")
    made = made.get("key") if isinstance(made, dict) else None
    if not isinstance(made, dict):
        raise UserError(
            f"{path.with_suffix('.json')}: does not say what the engine was made for; make it with {remedy}"
        )
    trt = tensorrt_api.load(device)
    cudart = runtime()
    name, capability = gpu(cudart)
    here = {"version": tensorrt_api.version(trt), "size": [model.network.width, model.network.height]}
    if not tensorrt_api.is_rtx(trt):  # TensorRT for RTX compiles for the GPU when it loads
        here |= {"gpu": name, "compute_capability": capability}
    for what, value in here.items():
        lean = what == "version" and device == "tensorrt-lean"
        if not (tensorrt_api.runs(str(value), str(made.get(what))) if lean else made.get(what) == value):
            raise UserError(
                f"{path}: this engine's {what} is {made.get(what)}, here it is {value}; make it again with {remedy}"
            )
    return TensorRtEngine(trt, cudart, path)


class TensorRtEngine:
    """Runs a serialized engine with batch 1: one upload, the network, the downloads, as one CUDA graph.

    :raises UserError: TensorRT cannot load the engine on this GPU.
    """

    def __init__(self, trt: Any, cudart: Any, path: Path) -> None:
        self.description = tensorrt_api.version(trt)
        self._logger = trt.Logger(trt.Logger.ERROR)
        self._runtime = trt.Runtime(self._logger)
        engine = self._runtime.deserialize_cuda_engine(path.read_bytes())
        if engine is None:
            raise UserError(f"{path}: TensorRT cannot load this engine on this GPU; convert again on this machine")
        self._engine = engine
        self._context = _context(trt, engine, path.with_suffix(".cache"))
        self._inputs: list[Buffer] = []
        self._outputs: list[Buffer] = []
        for i in range(engine.num_io_tensors):
            name = engine.get_tensor_name(i)
            incoming = engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
            shape = (1, *tuple(engine.get_tensor_shape(name))[1:])
            buffer = Buffer(cudart, shape, trt.nptype(engine.get_tensor_dtype(name)))
            if incoming:
                self._context.set_input_shape(name, shape)
            self._context.set_tensor_address(name, buffer.device)
            (self._inputs if incoming else self._outputs).append(buffer)
        self._recording = Recording(cudart, self._enqueue)
        self.input: NDArray[Any] = self._inputs[0].array
        # An engine for batches has no pre- and post-processing: planes go in, and heads come out.
        self.layout: Literal["NHWC", "NCHW"] = "NHWC" if self.input.dtype == np.uint8 else "NCHW"
        arrays = [buffer.array[0] for buffer in self._outputs]
        self._arrays = [array.transpose(1, 2, 0) if array.ndim == 3 else array for array in arrays]
        checked(cudart, cudart.cudaDeviceSynchronize())

    def _enqueue(self, stream: Any) -> None:
        self._inputs[0].upload(stream)
        if not self._context.execute_async_v3(int(stream)):
            raise UserError("TensorRT could not run the network; see its message above")
        for buffer in self._outputs:
            buffer.download(stream)

    def infer(self) -> list[NDArray[np.float32]]:
        """Run; see `Engine.infer`."""
        self._recording.run()
        return self._arrays


def _context(trt: Any, engine: Any, cache: Path) -> Any:
    """Return an execution context; TensorRT for RTX compiles here, and what it compiled is kept beside the engine."""
    if not tensorrt_api.is_rtx(trt):
        return engine.create_execution_context()
    config = engine.create_runtime_config()
    kept = config.create_runtime_cache()
    with contextlib.suppress(OSError):
        kept.deserialize(cache.read_bytes())
    config.set_runtime_cache(kept)
    context = engine.create_execution_context(config)
    with contextlib.suppress(UserError):
        write_atomically(cache, bytes(kept.serialize()))
    return context
