"""The runtime `onnx`: ONNX Runtime, with whichever execution provider is installed."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from core.errors import UserError, first_line
from core.precision import Precision
from engine.engine import GraphStages, Model
from engine.models import int8_file
from engine.runtime import Runtime

if TYPE_CHECKING:
    from engine.cuda_stages import DeviceNetwork

PROVIDERS = {
    "cuda": "CUDAExecutionProvider",
    "directml": "DmlExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "cpu": "CPUExecutionProvider",
}
"""In the order in which they are taken when none is named."""

PLUGINS = {"tensorrt-rtx": ("onnxruntime_ep_nv_tensorrt_rtx", "onnxruntime-ep-nv-tensorrt-rtx-cu13")}
"""Providers that are packages of their own, which ONNX Runtime loads when asked: import name and distribution.

TensorRT for RTX compiles the graph for the card itself, so that no engine file is needed."""

CUDA = {
    "prefer_nhwc": "1",
    "fuse_conv_bias": "1",
    "cudnn_conv_algo_search": "HEURISTIC",
}
"""Channels last, and cuDNN's own choice of algorithm: each measured faster on an H200, as is a CUDA graph."""
EXACT = {"use_tf32": "0"}
"""For float32 alone: with it float16 loses the tensor cores too, and YOLOv4-416 takes 10.3 ms and not 2.4."""
CODES = {"prefer_nhwc": "0", "fuse_conv_bias": "0"}
"""For INT8 alone: with channels last ONNX Runtime 1.31 refuses a convolution behind DequantizeLinear when it runs, and
with biases fused it adds them once more in every run: heads of up to 26 were off by 1 in the first, by 500 later."""

log = logging.getLogger("reticle")

Infer = Callable[[], list[NDArray[np.float32]]]


class OnnxEngine:
    """Runs an ONNX model with batch 1.

    :param onnx: the serialized model.
    :param device: one of `PROVIDERS` or `PLUGINS`, or `onnx` for the first of them that is installed.
    :param on_device: leave input and heads in the card's memory, for kernels there (`device`).
    :param exact: switch the runtime's optimisations off, so that Q/DQ pairs are computed as they are written.
    """

    def __init__(
        self,
        onnx: bytes,
        device: str = "onnx",
        exact: bool = False,
        precision: Precision = "fp32",
        on_device: bool = False,
    ) -> None:
        import onnxruntime

        if device == "cuda" and hasattr(onnxruntime, "preload_dlls"):
            onnxruntime.preload_dlls()
        available = onnxruntime.get_available_providers()
        device = resolved(device)
        plugin = _plugin(device) if device in PLUGINS else None
        self.description = PROVIDERS[device] if plugin is None else plugin[0]
        if plugin is None and self.description not in available:
            raise UserError(
                f"this ONNX Runtime has no {self.description}, only {', '.join(available)}; install the package of "
                "ONNX Runtime that has it, or choose another engine"
            )
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # it reports each kernel that it tries in vain as an error
        if exact:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        if plugin is not None:
            options.add_provider_for_devices(plugin[1], {})

        def session(stream: Any = None, own_graph: bool = True) -> Any:
            provider: Any = self.description
            if stream is not None:
                provider = (self.description, provider_options(precision, stream, own_graph))
            try:
                made = onnxruntime.InferenceSession(onnx, options, providers=[provider] if plugin is None else None)
            except Exception as error:  # its exceptions have no common base
                reason = " ".join(str(error).split())[:300]
                raise UserError(f"ONNX Runtime cannot take the network on {self.description}: {reason}") from error
            if made.get_providers()[0] != self.description:
                raise UserError(f"ONNX Runtime could not start {self.description}; see its message, or choose another")
            return made

        self.device: DeviceNetwork | None = None
        if device != "cuda":
            self.input, self._infer = _on_host(session())
        elif on_device:
            self.device = _device_network(session)
            self.input, self._infer = np.zeros((1, 3, 1, 1), np.float32), _nothing
        else:
            self.input, self._infer = _on_gpu(session)
        self.layout: Literal["NHWC", "NCHW"] = "NHWC" if self.input.dtype == np.uint8 else "NCHW"
        if device == "cuda":
            self._try()

    def infer(self) -> list[NDArray[np.float32]]:
        """Run; see `Engine.infer`."""
        return self._infer()

    def _try(self) -> None:
        """Run once: some of what the card's provider cannot do comes up only then.

        :raises UserError: it cannot.
        """
        try:
            (self._infer if self.device is None else self.device.enqueue)()
        except Exception as error:  # its exceptions have no common base
            raise UserError(
                f"ONNX Runtime cannot run the network on {self.description}: {first_line(error)}; take another "
                "precision or engine"
            ) from error


def resolved(device: str) -> str:
    """Return the device that is taken: the first of `PROVIDERS` that is installed, where none is named."""
    import onnxruntime

    available = onnxruntime.get_available_providers()
    return next(d for d, name in PROVIDERS.items() if name in available) if device == "onnx" else device


@functools.cache
def _plugin(device: str) -> tuple[str, list[Any]]:
    """Load a provider's package into ONNX Runtime; return the provider's name and the first card that it takes.

    :raises UserError: it is not installed, cannot be loaded, or takes no card that is here.
    """
    import onnxruntime

    module, distribution = PLUGINS[device]
    try:
        package = importlib.import_module(module)
    except ImportError as error:
        raise UserError(f"onnx:{device} needs the package {distribution}: `pip install {distribution}`") from error
    name = package.get_ep_name()
    try:
        onnxruntime.register_execution_provider_library(name, package.get_library_path())
        cards = [found for found in onnxruntime.get_ep_devices() if found.ep_name == name]
    except Exception as error:  # its exceptions have no common base
        raise UserError(
            f"ONNX Runtime cannot load {name}, which needs an NVIDIA driver: {first_line(error)}"
        ) from error
    if not cards:
        raise UserError(f"{name} takes no card of this machine: it is for GeForce RTX and RTX PRO; choose onnx:cuda")
    return name, cards[:1]


def provider_options(precision: Precision, stream: Any, own_graph: bool = True) -> dict[str, str]:
    """Return what ONNX Runtime is told to do on the GPU.

    :param own_graph: whether it records its work as a CUDA graph; without, that is left to whoever calls it.
    """
    special = {"fp32": EXACT, "int8": CODES}.get(precision, {})
    graph = {"enable_cuda_graph": "1" if own_graph else "0"}
    return {**CUDA, **special, **graph, "user_compute_stream": str(int(stream))}


def _on_host(session: Any) -> tuple[NDArray[Any], Infer]:
    """Bind input and outputs to arrays that stay; return the input and what runs."""
    import onnxruntime

    (first,) = session.get_inputs()
    pixels: NDArray[Any] = np.zeros(first.shape, _dtype(first))
    arrays = [np.zeros(output.shape, _dtype(output)) for output in session.get_outputs()]
    binding = session.io_binding()
    binding.bind_ortvalue_input(first.name, onnxruntime.OrtValue.ortvalue_from_numpy(pixels))
    for output, array in zip(session.get_outputs(), arrays, strict=True):
        binding.bind_ortvalue_output(output.name, onnxruntime.OrtValue.ortvalue_from_numpy(array))
    views = [_view(array[0]) for array in arrays]

    def infer() -> list[NDArray[np.float32]]:
        session.run_with_iobinding(binding)
        return views

    return pixels, infer


def _device_network(session: Callable[..., Any]) -> DeviceNetwork:
    """Open a session whose ends are in the card's memory.

    What it does can mostly be recorded as a part of a CUDA graph of our own, with what stands before and behind it;
    where it touches the host's memory it cannot, and records its part itself.
    """
    from engine.cuda import Recording, new_stream, runtime

    cudart = runtime()
    stream = new_stream(cudart)
    bound = _bound(session(stream, own_graph=False), stream)
    try:
        recording = Recording(cudart, lambda stream: bound.enqueue(), stream)
    except Exception as error:  # ONNX Runtime's have no common base
        log.info("ONNX Runtime's work cannot be recorded (%s)", first_line(error))
    else:
        recording.close()
        if recording.on_card:
            return replace(bound, recordable=True)
    return _bound(session(stream), stream)


def _bound(session: Any, stream: Any) -> DeviceNetwork:
    """Bind input and outputs to the card's memory, where other kernels write and read them."""
    import onnxruntime

    from engine.cuda import checked, runtime
    from engine.cuda_stages import DeviceNetwork, DeviceTensor

    cudart = runtime()
    binding = session.io_binding()

    def tensor(value: Any) -> DeviceTensor:
        dtype = np.dtype(_dtype(value))
        size = int(np.prod(value.shape)) * dtype.itemsize
        return DeviceTensor(checked(cudart, cudart.cudaMalloc(size)), dtype == np.float16, tuple(value.shape))

    (first,) = session.get_inputs()
    incoming, outgoing = tensor(first), [tensor(output) for output in session.get_outputs()]
    binding.bind_input(first.name, "cuda", 0, _dtype(first), first.shape, incoming.address)
    for output, made in zip(session.get_outputs(), outgoing, strict=True):
        binding.bind_output(output.name, "cuda", 0, _dtype(output), output.shape, made.address)
    options = onnxruntime.RunOptions()
    options.add_run_config_entry("disable_synchronize_execution_providers", "1")

    def enqueue() -> None:
        session.run_with_iobinding(binding, options)

    return DeviceNetwork(cudart, stream, incoming, tuple(outgoing), enqueue)


def _nothing() -> list[NDArray[np.float32]]:
    return []


def _on_gpu(opened: Callable[..., Any]) -> tuple[NDArray[Any], Infer]:
    """Bind input and outputs to the GPU's memory; a frame is one upload, one launch and the downloads, in a stream."""
    import onnxruntime

    from engine.cuda import Buffer, checked, new_stream, runtime

    cudart = runtime()
    stream = new_stream(cudart)
    session = opened(stream)
    (first,) = session.get_inputs()
    upload = Buffer(cudart, tuple(first.shape), _dtype(first))
    downloads = [Buffer(cudart, tuple(output.shape), _dtype(output)) for output in session.get_outputs()]
    binding = session.io_binding()
    binding.bind_input(first.name, "cuda", 0, _dtype(first), first.shape, upload.device)
    for output, buffer in zip(session.get_outputs(), downloads, strict=True):
        binding.bind_output(output.name, "cuda", 0, _dtype(output), output.shape, buffer.device)
    options = onnxruntime.RunOptions()
    options.add_run_config_entry("disable_synchronize_execution_providers", "1")  # the stream's end is waited for
    views = [_view(buffer.array[0]) for buffer in downloads]

    def infer() -> list[NDArray[np.float32]]:
        upload.upload(stream)
        session.run_with_iobinding(binding, options)
        for buffer in downloads:
            buffer.download(stream)
        checked(cudart, cudart.cudaStreamSynchronize(stream))
        return views

    return upload.array, infer


def _dtype(value: Any) -> type[np.generic]:
    kinds: dict[str, type[np.generic]] = {"tensor(uint8)": np.uint8, "tensor(float16)": np.float16}
    return kinds.get(value.type, np.float32)


def _view(array: NDArray[np.float32]) -> NDArray[np.float32]:
    return array.transpose(1, 2, 0) if array.ndim == 3 else array


def _load(model: Model, precision: Precision, stages: GraphStages, device: str) -> OnnxEngine:
    """Open a session on the model's graph."""
    from engine.graphs import graph, with_stages
    from engine.onnx_fp16 import fp16_ends, fp16_outputs

    proto = graph(model, precision)
    on_device = stages.device and resolved(device) == "cuda"
    if on_device:
        stages = GraphStages()
    if device == "cuda" and precision == "fp16" and not stages.postprocess:
        proto = fp16_ends(proto) if on_device else fp16_outputs(proto)
    return OnnxEngine(with_stages(proto, model, stages), device, precision=precision, on_device=on_device)


def _present() -> Iterator[str]:
    import onnxruntime

    available = onnxruntime.get_available_providers()
    yield from (f"onnx:{device}" for device, provider in PROVIDERS.items() if provider in available)
    yield from (f"onnx:{device}" for device, (module, _) in PLUGINS.items() if importlib.util.find_spec(module))


RUNTIME = Runtime(
    "onnx",
    _load,
    packages=("onnxruntime",),
    install="start with `uv run --extra onnx agent.py` (without uv: `pip install onnxruntime`)",
    devices=(*PROVIDERS, *PLUGINS),
    present=_present,
    distributions=("onnxruntime", "onnxruntime-gpu", "numpy"),
    preprocess="graph",
    needs=int8_file,
)
