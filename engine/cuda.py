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


def new_stream(cudart: Any) -> Any:
    """Return a stream of the highest priority: where a game's work waits beside it, the network's goes first."""
    _, greatest = checked(cudart, cudart.cudaDeviceGetStreamPriorityRange())
    return checked(cudart, cudart.cudaStreamCreateWithPriority(cudart.cudaStreamDefault, greatest))


PAGE_LOCKED: set[int] = set()
"""Where arrays begin that `page_locked` has made: the card reads them without the driver's help."""


def page_locked(cudart: Any, shape: tuple[int, ...], dtype: DTypeLike = np.uint8) -> NDArray[Any]:
    """Return an array in page-locked host memory, which is kept until the process ends."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    address = int(checked(cudart, cudart.cudaMallocHost(size)))
    PAGE_LOCKED.add(address)
    return _array(address, shape, dtype)


def _array(address: int, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = (ctypes.c_uint8 * size).from_address(address)
    array: NDArray[Any] = np.frombuffer(memoryview(memory), dtype).reshape(shape)
    array[...] = np.zeros((), dtype)
    return array


class Buffer:
    """One tensor: its device memory, and an array over page-locked host memory that a copy goes to or from."""

    def __init__(self, cudart: Any, shape: tuple[int, ...], dtype: DTypeLike) -> None:
        self._cudart = cudart
        self.bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
        self.device: int = checked(cudart, cudart.cudaMalloc(self.bytes))
        self._host: int = checked(cudart, cudart.cudaMallocHost(self.bytes))
        self.array = _array(self._host, shape, dtype)

    def upload(self, stream: Any, source: int | None = None) -> None:
        """Copy to the device, in the stream's order.

        :param source: the address of other page-locked memory to copy from.
        """
        kind = self._cudart.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._copy(self.device, self._host if source is None else source, kind, stream)

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
    :param stream: to record on; one of its own by default.
    :raises Exception: what `enqueue` raises, the stream as it was.
    """

    def __init__(self, cudart: Any, enqueue: Callable[[Any], None], stream: Any = None) -> None:
        self._cudart = cudart
        self._stream = new_stream(cudart) if stream is None else stream
        for _ in range(2):  # the first times some runtimes allocate, which a recording may not
            enqueue(self._stream)
        checked(cudart, cudart.cudaStreamSynchronize(self._stream))
        mode = cudart.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        checked(cudart, cudart.cudaStreamBeginCapture(self._stream, mode))
        try:
            enqueue(self._stream)
        except BaseException:
            cudart.cudaStreamEndCapture(self._stream)
            raise
        graph = checked(cudart, cudart.cudaStreamEndCapture(self._stream))
        self.on_card = _on_card(cudart, graph)
        """Whether it does nothing but compute in the card's memory."""
        self._graph = checked(cudart, cudart.cudaGraphInstantiate(graph, 0))
        checked(cudart, cudart.cudaGraphDestroy(graph))

    def run(self) -> None:
        """Launch and wait for the end."""
        checked(self._cudart, self._cudart.cudaGraphLaunch(self._graph, self._stream))
        checked(self._cudart, self._cudart.cudaStreamSynchronize(self._stream))

    def close(self) -> None:
        """Give the graph back."""
        self._cudart.cudaGraphExecDestroy(self._graph)


def _on_card(cudart: Any, graph: Any) -> bool:
    """Say whether a graph calls nothing on the host, copies nothing from there, and allocates nothing.

    What such a graph did with the host's memory would happen again at each launch, when that memory is another's.
    """
    _, count = checked(cudart, cudart.cudaGraphGetNodes(graph))
    nodes, _ = checked(cudart, cudart.cudaGraphGetNodes(graph, count))
    kinds = cudart.cudaGraphNodeType
    for node in nodes:
        kind = checked(cudart, cudart.cudaGraphNodeGetType(node))
        if kind == kinds.cudaGraphNodeTypeMemcpy:
            copy = checked(cudart, cudart.cudaGraphMemcpyNodeGetParams(node))
            if copy.kind != cudart.cudaMemcpyKind.cudaMemcpyDeviceToDevice:
                return False
        elif kind not in (kinds.cudaGraphNodeTypeKernel, kinds.cudaGraphNodeTypeMemset, kinds.cudaGraphNodeTypeEmpty):
            return False
    return True
