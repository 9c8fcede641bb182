"""Device memory, page-locked host memory, one stream and one CUDA graph, by NVIDIA's cuda-bindings."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from core.errors import UserError


def runtime() -> Any:
    """Import CUDA's runtime.

    :raises UserError: it is not installed, or there is no NVIDIA GPU or driver.
    """
    try:
        from cuda.bindings import runtime as cudart
    except ImportError as error:
        raise UserError("TensorRT needs the package cuda-bindings: `pip install cuda-bindings`") from error
    try:
        count = checked(cudart, cudart.cudaGetDeviceCount())
    except (RuntimeError, UserError) as error:  # the bindings raise the first where there is no driver at all
        raise UserError("this machine has no NVIDIA GPU with a driver; choose another engine") from error
    if not count:
        raise UserError("this machine has no NVIDIA GPU; choose another engine")
    return cudart


def checked(cudart: Any, answer: Any) -> Any:
    """Return what a call of the runtime gave beside its status.

    :raises UserError: the status is not success.
    """
    status, *values = answer
    if status != cudart.cudaError_t.cudaSuccess:
        _, text = cudart.cudaGetErrorString(status)
        reason = text.decode() if isinstance(text, bytes) else text
        raise UserError(f"CUDA: {reason}; close what else uses the GPU, or choose another engine")
    return values[0] if len(values) == 1 else values or None


def gpu(cudart: Any) -> tuple[str, str]:
    """Return the GPU's name and its compute capability, such as 8.9."""
    properties = checked(cudart, cudart.cudaGetDeviceProperties(0))
    name = properties.name
    return (name.decode() if isinstance(name, bytes) else name), f"{properties.major}.{properties.minor}"


class Buffer:
    """One tensor: its device memory, and an array over page-locked host memory that a copy goes to or from."""

    def __init__(self, cudart: Any, shape: tuple[int, ...], dtype: DTypeLike) -> None:
        self._cudart = cudart
        self.bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
        self.device: int = checked(cudart, cudart.cudaMalloc(self.bytes))
        self._host: int = checked(cudart, cudart.cudaMallocHost(self.bytes))
        memory = (ctypes.c_uint8 * self.bytes).from_address(self._host)
        self.array: NDArray[Any] = np.frombuffer(memoryview(memory), dtype).reshape(shape)
        self.array[...] = 0

    def upload(self, stream: Any) -> None:
        """Copy to the device, in the stream's order."""
        kind = self._cudart.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._copy(self.device, self._host, kind, stream)

    def download(self, stream: Any, first: int | None = None) -> None:
        """Copy to the host, in the stream's order.

        :param first: so many bytes of it; all by default.
        """
        kind = self._cudart.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._copy(self._host, self.device, kind, stream, first)

    def _copy(self, target: int, source: int, kind: Any, stream: Any, first: int | None = None) -> None:
        size = self.bytes if first is None else first
        checked(self._cudart, self._cudart.cudaMemcpyAsync(target, source, size, kind, stream))

    def close(self) -> None:
        """Give the memory back; `array` must not be used after it."""
        self._cudart.cudaFree(self.device)
        self._cudart.cudaFreeHost(self._host)


class Recording:
    """Work on a stream, recorded once as a CUDA graph and then launched with one call a time.

    :param enqueue: puts the work on the stream it is given.
    """

    def __init__(self, cudart: Any, enqueue: Callable[[Any], None]) -> None:
        self._cudart = cudart
        self._stream = checked(cudart, cudart.cudaStreamCreate())
        enqueue(self._stream)  # the first time some runtimes allocate, which a recording may not
        checked(cudart, cudart.cudaStreamSynchronize(self._stream))
        mode = cudart.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        checked(cudart, cudart.cudaStreamBeginCapture(self._stream, mode))
        enqueue(self._stream)
        graph = checked(cudart, cudart.cudaStreamEndCapture(self._stream))
        self._graph = checked(cudart, cudart.cudaGraphInstantiate(graph, 0))
        checked(cudart, cudart.cudaGraphDestroy(graph))

    def run(self) -> None:
        """Launch and wait for the end."""
        checked(self._cudart, self._cudart.cudaGraphLaunch(self._graph, self._stream))
        checked(self._cudart, self._cudart.cudaStreamSynchronize(self._stream))

    def close(self) -> None:
        """Give the graph and the stream back."""
        self._cudart.cudaGraphExecDestroy(self._graph)
        self._cudart.cudaStreamDestroy(self._stream)
