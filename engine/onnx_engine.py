"""The engine `onnx`: ONNX Runtime, with whichever execution provider is installed."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from engine.engine import Ends, Model, Precision
from engine.errors import ModelError
from engine.graphs import graph, with_ends
from engine.onnx_half import half_outputs

PROVIDERS = {
    "cuda": "CUDAExecutionProvider",
    "directml": "DmlExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "cpu": "CPUExecutionProvider",
}
"""In the order in which they are taken when none is named."""

CUDA = {
    "prefer_nhwc": "1",
    "enable_cuda_graph": "1",
    "fuse_conv_bias": "1",
    "cudnn_conv_algo_search": "HEURISTIC",
}
"""Channels last, one launch a frame, and cuDNN's own choice of algorithm: each measured faster on an H200."""
EXACT = {"use_tf32": "0"}
"""For float32 alone: with it float16 loses the tensor cores too, and YOLOv4-416 takes 10.3 ms and not 2.4."""


def make(model: Model, precision: Precision, ends: Ends, device: str) -> OnnxEngine:
    """Open a session on the model's graph.

    :raises ModelError: the provider is not installed or cannot take the graph.
    """
    proto = graph(model, precision)
    if device == "cuda" and precision == "fp16" and not ends.back:
        proto = half_outputs(proto)
    return OnnxEngine(with_ends(proto, model, ends), device, precision=precision)


class OnnxEngine:
    """Runs an ONNX model with batch 1.

    :param onnx: the serialized model.
    :param device: one of `PROVIDERS`, or `onnx` for the first of them that is installed.
    :param exact: switch the runtime's optimisations off, so that Q/DQ pairs are computed as they are written.
    """

    def __init__(self, onnx: bytes, device: str = "onnx", exact: bool = False, precision: Precision = "fp32") -> None:
        if device == "cuda" and hasattr(onnxruntime, "preload_dlls"):
            onnxruntime.preload_dlls()
        available = onnxruntime.get_available_providers()
        device = next(d for d, name in PROVIDERS.items() if name in available) if device == "onnx" else device
        self.provider = PROVIDERS[device]
        if self.provider not in available:
            raise ModelError(
                f"this ONNX Runtime has no {self.provider}, only {', '.join(available)}; install the package of ONNX "
                "Runtime that has it, or choose another engine"
            )
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # it reports each kernel that it tries in vain as an error
        if exact:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            stream, provider = _stream(precision) if device == "cuda" else (None, self.provider)
            self._session = onnxruntime.InferenceSession(onnx, options, providers=[provider])
        except Exception as error:  # its exceptions have no common base
            reason = " ".join(str(error).split())[:300]
            raise ModelError(f"ONNX Runtime cannot take the network on {self.provider}: {reason}") from error
        if self._session.get_providers()[0] != self.provider:
            raise ModelError(f"ONNX Runtime could not start {self.provider}; see its message above, or choose another")
        bind = _on_card if device == "cuda" else _on_host
        self.input, self._infer = bind(self._session, stream)
        self.layout: Literal["NHWC", "NCHW"] = "NHWC" if self.input.dtype == np.uint8 else "NCHW"

    def infer(self) -> list[NDArray[np.float32]]:
        """Run; see `Engine.infer`."""
        return self._infer()


def provider_options(precision: Precision, stream: Any) -> dict[str, str]:
    """Return what ONNX Runtime is told to do on the card."""
    exact = EXACT if precision == "fp32" else {}
    return {**CUDA, **exact, "user_compute_stream": str(int(stream))}


def _stream(precision: Precision) -> tuple[Any, Any]:
    """Return a CUDA stream and the provider that works on it."""
    from engine.cuda import checked, runtime

    cudart = runtime()
    stream = checked(cudart, cudart.cudaStreamCreate())
    return stream, (PROVIDERS["cuda"], provider_options(precision, stream))


def _on_host(session: Any, stream: Any) -> tuple[NDArray[Any], Any]:
    """Bind input and outputs to arrays that stay; return the input and what runs."""
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


def _on_card(session: Any, stream: Any) -> tuple[NDArray[Any], Any]:
    """Bind input and outputs to the card's memory; a frame is one upload, one launch and the downloads, in a stream."""
    from engine.cuda import Buffer, checked, runtime

    cudart = runtime()
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
