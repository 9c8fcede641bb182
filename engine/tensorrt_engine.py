"""The engines `tensorrt`, `tensorrt-rtx` and `tensorrt-lean`: running an engine that conversion has built.

A Darknet network's takes planes and gives raw heads, which stay in the card's memory, where kernels of our own prepare
and decode (`engine.cuda_stages`). Other families' have the pixels' preparation built in.

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
from engine.cuda import Buffer, Recording, checked, gpu, new_stream, runtime
from engine.cuda_stages import DeviceNetwork, DeviceTensor
from engine.engine import GraphStages, Model


def engine_name(runtime_name: str, precision: str) -> str:
    """Return the file name of an engine in its bundle; beside it lies the same with .json."""
    return f"{precision}.{runtime_name}.engine"


def load(model: Model, precision: Precision, stages: GraphStages, device: str) -> TensorRtEngine:
    """Load the bundle's engine.

    :param stages: whether its ends are to be left in the card's memory; what else is in it is as it was built.
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
    return TensorRtEngine(trt, cudart, path, stages.device)


class TensorRtEngine:
    """Runs a serialized engine with batch 1: one upload, the network, the downloads, as one CUDA graph.

    :param on_card: leave input and heads in the card's memory, for kernels there (`device`), where it takes planes.
    :raises UserError: TensorRT cannot load the engine on this GPU.
    """

    def __init__(self, trt: Any, cudart: Any, path: Path, on_card: bool = False) -> None:
        self.description = tensorrt_api.version(trt)
        self._logger = trt.Logger(trt.Logger.ERROR)
        self._runtime = trt.Runtime(self._logger)
        engine = self._runtime.deserialize_cuda_engine(path.read_bytes())
        if engine is None:
            raise UserError(f"{path}: TensorRT cannot load this engine on this GPU; convert again on this machine")
        self._engine = engine
        self._context = _context(trt, engine, path.with_suffix(".cache"))
        inputs: dict[str, Buffer] = {}
        outputs: dict[str, Buffer] = {}
        for i in range(engine.num_io_tensors):
            name = engine.get_tensor_name(i)
            incoming = engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
            shape = (1, *tuple(engine.get_tensor_shape(name))[1:])
            buffer = Buffer(cudart, shape, trt.nptype(engine.get_tensor_dtype(name)))
            if incoming:
                self._context.set_input_shape(name, shape)
            self._context.set_tensor_address(name, buffer.device)
            (inputs if incoming else outputs)[name] = buffer
        self._inputs = list(inputs.values())
        self._outputs = [outputs[name] for name in sorted(outputs, key=_place)]
        self.input: NDArray[Any] = self._inputs[0].array
        self.device: DeviceNetwork | None = None
        if on_card and self.input.dtype != np.uint8:
            stream = new_stream(cudart)
            heads = [_tensor(buffer) for buffer in self._outputs]
            self.device = DeviceNetwork(
                cudart, stream, _tensor(self._inputs[0]), tuple(heads), lambda: self._execute(stream), recordable=True
            )
        else:
            self._recording = Recording(cudart, self._enqueue)
        self.layout: Literal["NHWC", "NCHW"] = "NHWC" if self.input.dtype == np.uint8 else "NCHW"
        arrays = [buffer.array[0] for buffer in self._outputs]
        self._arrays = [array.transpose(1, 2, 0) if array.ndim == 3 else array for array in arrays]
        checked(cudart, cudart.cudaDeviceSynchronize())

    def _enqueue(self, stream: Any) -> None:
        self._inputs[0].upload(stream)
        self._execute(stream)
        for buffer in self._outputs:
            buffer.download(stream)

    def _execute(self, stream: Any) -> None:
        if not self._context.execute_async_v3(int(stream)):
            raise UserError("TensorRT could not run the network; see its message above")

    def infer(self) -> list[NDArray[np.float32]]:
        """Run; see `Engine.infer`."""
        self._recording.run()
        return self._arrays


def _place(name: str) -> int:
    """Return a head's number, by which outputs are in the cfg's order, whatever order the engine has."""
    number = name.removeprefix("head_")
    return int(number) if number.isdigit() else 0


def _tensor(buffer: Buffer) -> DeviceTensor:
    return DeviceTensor(buffer.device, buffer.array.dtype == np.float16, buffer.array.shape)


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
