"""Pre- and post-processing on the card: a frame is one upload, and what comes back are its boxes.

The kernels are in `cuda_kernels.cu`, compiled for the card by NVRTC when an engine is loaded. They do what
`engine.preprocess`, `engine.heads` and `engine.boxes` do on the host, to the rounding of the network's own precision.
The last of them writes the survivors of non-maximum suppression into the host's memory, so that nothing is downloaded.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import UserError, first_line
from core.geometry import Fit, Placement, place
from engine.boxes import Decoder, Rows, survivors
from engine.cuda import PAGE_LOCKED, Buffer, Recording, checked, page_locked
from engine.darknet import Network
from engine.heads import floor_of, units_of
from engine.preprocess import mapped, mapping

SOURCE = Path(__file__).with_name("cuda_kernels.cu")
LIMIT = 65_536
"""Candidates that there is room for; with more, the heads are decoded on the host."""
MOST = 384
"""Candidates that the card suppresses itself, by one block of so many threads; more of them come to the host."""
BLOCK = 256
TILE = (32, 8)

ROW = np.dtype(
    [("box", np.float32, 4), ("score", np.float32), ("kind", np.int32), ("order", np.int32), ("unused", np.int32)]
)
"""A candidate as the kernel writes it."""
COUNT_BYTES = 32
"""What stands before the rows: counts, and room."""
ANSWER = np.dtype(
    [
        ("counts", np.int32, 2), ("unused", np.int32, 6), ("boxes", np.float32, (MOST, 4)),
        ("scores", np.float32, MOST), ("kinds", np.int32, MOST),
    ]
)  # fmt: skip
"""What the host reads of the survivors, as the kernel writes it."""
HEAD = np.dtype(
    [
        ("values", np.uint64), ("units", np.uint64), ("half", np.int32), ("cells", np.int32), ("anchors", np.int32),
        ("new_coords", np.int32), ("floor", np.float32), ("first", np.int32),
    ]
)  # fmt: skip
"""A head as the kernel reads it."""


@dataclass(frozen=True)
class DeviceTensor:
    """A tensor in the card's memory: its address, whether its numbers have 16 bits, and its shape (1, c, h, w)."""

    address: int
    half: bool
    shape: tuple[int, ...]


@dataclass(frozen=True)
class DeviceNetwork:
    """A network whose ends are in the card's memory.

    :param enqueue: puts it on the stream; `stream` is CUDA's handle of that.
    :param recordable: whether that may become a part of a CUDA graph.
    """

    cudart: Any
    stream: Any
    input: DeviceTensor
    heads: tuple[DeviceTensor, ...]
    enqueue: Callable[[], None]
    recordable: bool = False


class Kernels:
    """The compiled kernels, by name.

    :raises UserError: NVRTC is missing, or does not know the card.
    """

    def __init__(self, cudart: Any) -> None:
        try:
            from cuda.bindings import driver, nvrtc
        except ImportError as error:
            raise UserError("pixels on the card need the package cuda-bindings: `pip install cuda-bindings`") from error
        self._driver = driver
        properties = checked(cudart, cudart.cudaGetDeviceProperties(0))
        target = f"--gpu-architecture=sm_{properties.major}{properties.minor}"
        cubin = _compiled(nvrtc, SOURCE.read_bytes(), target.encode())
        self._module = self._checked(driver.cuModuleLoadData(cubin))
        self._functions = {
            name: self._checked(driver.cuModuleGetFunction(self._module, name.encode()))
            for name in ("prepare", "decode", "suppress")
        }

    def launch(
        self, name: str, grid: tuple[int, int], block: tuple[int, int], stream: Any, arguments: Arguments
    ) -> None:
        """Put a kernel on a stream."""
        driver = self._driver
        (status,) = driver.cuLaunchKernel(
            self._functions[name], grid[0], grid[1], 1, block[0], block[1], 1, 0, int(stream), arguments.address, 0
        )
        if status != driver.CUresult.CUDA_SUCCESS:
            raise UserError(f"CUDA: the kernel {name} could not be started ({status.name}); choose another engine")

    def _checked(self, answer: Any) -> Any:
        status, *values = answer
        if status != self._driver.CUresult.CUDA_SUCCESS:
            raise UserError(
                f"CUDA: the kernels cannot be loaded ({status.name}); update the driver, or prepare on the host"
            )
        return values[0]


class Arguments:
    """A kernel's arguments, kept where CUDA reads them at each launch; they may be changed between launches."""

    def __init__(self, *values: int | float | ctypes.c_void_p) -> None:
        kinds: dict[type, Any] = {int: ctypes.c_int, float: ctypes.c_float}
        self.values = [value if isinstance(value, ctypes.c_void_p) else kinds[type(value)](value) for value in values]
        self._places = (ctypes.c_void_p * len(values))(*(ctypes.addressof(value) for value in self.values))
        self.address = ctypes.addressof(self._places)


def _compiled(nvrtc: Any, source: bytes, target: bytes) -> bytes:
    """Return kernels as a cubin.

    :raises UserError: NVRTC's library is missing, or refuses.
    """
    try:
        status, program = nvrtc.nvrtcCreateProgram(source, b"reticle.cu", 0, [], [])
        if status == nvrtc.nvrtcResult.NVRTC_SUCCESS:
            # Without fused multiply-add, as the host computes.
            options = [target, b"--std=c++17", b"--fmad=false"]
            (status,) = nvrtc.nvrtcCompileProgram(program, len(options), options)
    except RuntimeError as error:  # its library is not found
        raise UserError(f"pixels on the card need NVRTC: `pip install nvidia-cuda-nvrtc` ({error})") from error
    if status != nvrtc.nvrtcResult.NVRTC_SUCCESS:
        _, size = nvrtc.nvrtcGetProgramLogSize(program)
        log = b" " * size
        nvrtc.nvrtcGetProgramLog(program, log)
        reason = " ".join(log.decode(errors="replace").replace("\0", "").split())
        raise UserError(f"NVRTC cannot compile the kernels for this card ({target.decode()}): {reason[:300]}")
    _, size = nvrtc.nvrtcGetCUBINSize(program)
    cubin = b" " * size
    nvrtc.nvrtcGetCUBIN(program, cubin)
    nvrtc.nvrtcDestroyProgram(program)
    return cubin


class CudaStages:
    """Frames in, boxes out, with nothing between but the network.

    :param threshold: as `engine.boxes.Decoder` has it, and `nms`.
    :raises UserError: the kernels cannot be made ready.
    """

    def __init__(self, ready: DeviceNetwork, network: Network, fit: Fit, threshold: float, nms: float) -> None:
        self._ready, self._fit, self._nms = ready, fit, nms
        self._cudart, self._stream = ready.cudart, ready.stream
        self._kernels = Kernels(ready.cudart)
        self._decoder = Decoder(network, threshold, nms)
        self._size = (network.width, network.height)
        self._found = Buffer(self._cudart, (COUNT_BYTES + LIMIT * ROW.itemsize,), np.uint8)
        self._found.upload(self._stream)  # a count of 0
        self._to_frame = Buffer(self._cudart, (6,), np.float32)
        answer = page_locked(self._cudart, (1,), ANSWER)
        fields = answer[0]
        self._counts = fields["counts"]
        self._boxes, self._scores, self._kinds = fields["boxes"], fields["scores"], fields["kinds"]
        self._heads, self._decoding, self._blocks = self._head_table(network, threshold)
        self._suppressing = Arguments(
            ctypes.c_void_p(self._found.device),
            ctypes.c_void_p(answer.ctypes.data),
            ctypes.c_void_p(self._to_frame.device),
            float(nms),
        )
        self._run = self._recorded() if ready.recordable else self._launched
        self._shape: tuple[int, ...] = ()
        self._frame: Buffer | None = None
        self._grid = tuple(-(-side // tile) for side, tile in zip(self._size, TILE, strict=True))

    def page_locked(self, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """Return memory for a frame of this shape that `prepare` reads without another copy."""
        return page_locked(self._cudart, shape)

    def prepare(self, pixels: NDArray[np.uint8]) -> None:
        """Have one frame, uint8 (height, width, 3) BGR or (height, width, 4) BGRA, on its way to the network's input.

        One that lies in memory of `page_locked` is read from there; it must stay as it is until `infer` returns.
        """
        if pixels.shape != self._shape:
            self._plan(pixels.shape)
        frame = self._frame
        assert frame is not None
        address = pixels.ctypes.data
        if address in PAGE_LOCKED and pixels.flags.c_contiguous:
            frame.upload(self._stream, address)
        else:
            np.copyto(frame.array, pixels)
            frame.upload(self._stream)
        self._kernels.launch("prepare", self._grid, TILE, self._stream, self._preparing)  # type: ignore[arg-type]

    def infer(self) -> list[NDArray[np.float32]]:
        """Run the rest, and wait for its end; what is returned is for `boxes` alone."""
        self._run()
        return []

    def _recorded(self) -> Callable[[], None]:
        """Return what launches all of it as one graph.

        :raises UserError: the runtime's part cannot be recorded after all.
        """
        try:
            recording = Recording(self._cudart, lambda stream: self._enqueue(), self._stream)
        except UserError:
            raise
        except Exception as error:  # of a runtime's, whose have no common base
            raise UserError(f"the network cannot be recorded as a CUDA graph: {first_line(error)}") from error
        return recording.run if recording.on_card else self._launched

    def _launched(self) -> None:
        self._enqueue()
        checked(self._cudart, self._cudart.cudaStreamSynchronize(self._stream))

    def _enqueue(self) -> None:
        self._ready.enqueue()
        self._kernels.launch("decode", self._blocks, (BLOCK, 1), self._stream, self._decoding)
        self._kernels.launch("suppress", (1, 1), (MOST, 1), self._stream, self._suppressing)

    def boxes(self, outputs: Sequence[NDArray[np.float32]]) -> Rows:
        """Return what was found in the frame last prepared: boxes xyxy in its pixels, best first."""
        found, kept = self._counts.tolist()
        if found <= MOST:
            return self._boxes[:kept].copy(), self._scores[:kept].copy(), self._kinds[:kept].copy()
        rows = self._decoder.decode(self._downloaded()) if found > LIMIT else self._survivors(found)
        boxes, scores, classes = rows
        return mapped(boxes, self._mapping), scores, classes

    def _survivors(self, found: int) -> Rows:
        self._found.download(self._stream, COUNT_BYTES + found * ROW.itemsize)
        checked(self._cudart, self._cudart.cudaStreamSynchronize(self._stream))
        rows = self._found.array[COUNT_BYTES:].view(ROW)[:found]
        rows = rows[np.argsort(rows["order"])]  # the kernel's threads end in any order
        return survivors(rows["box"].copy(), rows["score"].copy(), rows["kind"].copy(), self._nms)

    def _downloaded(self) -> list[NDArray[np.floating]]:
        """Return the heads, each (h, w, channels)."""
        found = []
        for head in self._ready.heads:
            host = np.empty(head.shape[1:], np.float16 if head.half else np.float32)
            kind = self._cudart.cudaMemcpyKind.cudaMemcpyDeviceToHost
            checked(self._cudart, self._cudart.cudaMemcpy(host.ctypes.data, head.address, host.nbytes, kind))
            found.append(host.transpose(1, 2, 0))
        return found

    def _head_table(self, network: Network, threshold: float) -> tuple[list[Buffer], Arguments, tuple[int, int]]:
        """Return what must be kept in the card's memory, the decoding kernel's arguments, and its grid."""
        table = np.zeros(len(network.heads), HEAD)
        kept, first = [], 0
        for entry, head, tensor in zip(table, network.heads, self._ready.heads, strict=True):
            units = units_of(head, network)
            buffer = Buffer(self._cudart, units.shape, np.float32)
            buffer.array[...] = units
            buffer.upload(self._stream)
            kept.append(buffer)
            anchors = len(head.anchors)
            entry["values"], entry["units"], entry["half"] = tensor.address, buffer.device, tensor.half
            entry["cells"], entry["anchors"], entry["first"] = len(units) // anchors, anchors, first
            entry["new_coords"], entry["floor"] = head.new_coords, floor_of(threshold, head.new_coords)
            first += len(units)
        heads = Buffer(self._cudart, table.shape, HEAD)
        heads.array[...] = table
        heads.upload(self._stream)
        arguments = Arguments(
            ctypes.c_void_p(heads.device), network.classes, float(threshold), ctypes.c_void_p(self._found.device), LIMIT
        )
        most = int((table["cells"] * table["anchors"]).max())
        return [heads, *kept], arguments, (-(-most // BLOCK), len(table))

    def _plan(self, shape: tuple[int, ...]) -> None:
        before, self._frame = self._frame, Buffer(self._cudart, shape, np.uint8)
        if before is not None:
            before.close()
        self._shape = shape
        height, width, channels = shape
        placed: Placement = place((width, height), self._size, self._fit)
        target = self._ready.input
        self._preparing = Arguments(
            ctypes.c_void_p(self._frame.device), width, height, channels,
            ctypes.c_void_p(target.address), int(target.half), *self._size,
            placed.left, placed.top, placed.width, placed.height,
            width / placed.width, height / placed.height, self._fit.pad,
        )  # fmt: skip
        self._mapping = mapping(placed, width, height)
        self._to_frame.array[...] = np.concatenate([each[:2] for each in self._mapping])
        self._to_frame.upload(self._stream)
