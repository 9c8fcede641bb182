"""How far the view turned between two pictures, from all that they show: dense, and blind to what does not move.

A view that turns about its eye shows the same scene through another homography. On a cylinder about the axis of the
turn that is a shift, which normalised correlation finds in the frequency domain, masks included (D. Padfield, Masked
object registration in the Fourier domain, IEEE TIP 21, 2012). What is known roughly is then refined by warping one
picture as the turn would, and taking the turn that correlates best.

Pictures are compared by their local contrast, so that dim corridors count as much as bright ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from core.errors import UserError

Array = NDArray[np.float32]

BLUR = 31
"""The neighbourhood that a pixel's contrast is taken from, pixels of the width that pictures are compared at."""
NOISE = 2.0
"""A neighbourhood whose grey levels differ less than this is flat."""
LIMIT = 3.0
"""Contrasts beyond this many standard deviations count as this: lamps, and effects that come and go."""
CHANGED = 0.8
"""A pixel whose contrast changes by more shows another thing."""
STILL_SHARE, LEAST_STILL, FEWEST_VIEWS = 0.2, 1.5, 4
"""A pixel whose grey level stays within this part of what others range over, or within these levels, through so many
different views is drawn over the scene."""
MANY_VIEWS, STEADY, MARKED = 16, 1.5, 0.3
"""Through so many views, a pixel is drawn over the scene too where its contrast is on average MARKED at the least, and
STEADY times its own spread: a shiny weapon changes its brightness, and keeps its outline."""
ROWS, APART = 9, 4
SEEN = 0.9
"""A pixel made of others counts when so much of it does."""
LEAST_OVERLAP = 0.2
"""Correlations over less of the picture than this are chance."""


@dataclass(frozen=True)
class View:
    """A picture as it is compared: local contrast and which pixels count, float32 (height, width) both."""

    contrast: Array
    mask: Array

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.contrast.shape[0], self.contrast.shape[1]


def contrast(grey: NDArray[np.uint8]) -> Array:
    """Return a picture's local contrast: how far each pixel is from its neighbourhood, in standard deviations."""
    picture = grey.astype(np.float32)
    mean = cv2.boxFilter(picture, -1, (BLUR, BLUR))
    spread = cv2.boxFilter(picture * picture, -1, (BLUR, BLUR)) - mean * mean
    scaled = (picture - mean) / np.sqrt(np.maximum(spread, 0) + NOISE**2)
    return np.asarray(np.clip(scaled, -LIMIT, LIMIT), np.float32)


def changed(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Return what part of the pixels shows another thing."""
    return float((np.abs(contrast(a) - contrast(b)) > CHANGED).mean())


def overlay(pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.bool_]:
    """Return where pictures of different views show the same: a weapon, a status bar, a border; bool (height, width).

    The more views, the surer: in a few, flat walls stay the same too. A tenth of them may differ, as something moves on
    what is drawn over the scene now and then.
    """
    low, high = np.percentile(np.stack(pictures), (5, 95), axis=0)
    limit = max(LEAST_STILL, STILL_SHARE * float(np.percentile(high - low, 60)))
    square = np.ones((5, 5), np.uint8)
    same = (high - low <= limit).astype(np.uint8)
    if len(pictures) >= MANY_VIEWS:
        contrasts = np.stack([contrast(picture) for picture in pictures])
        mean, spread = np.abs(contrasts.mean(axis=0)), contrasts.std(axis=0)
        drawn = ((mean > STEADY * spread) & (mean > MARKED)).astype(np.uint8)
        same |= cv2.morphologyEx(drawn, cv2.MORPH_CLOSE, square)
    return np.asarray(cv2.dilate(cv2.morphologyEx(same, cv2.MORPH_OPEN, square), square) > 0)


def shift(a: View, b: View, focal: float, axis: int, limit: float) -> tuple[float, float]:
    """Return the angle, radians, that the view turned by from a to b, and how well they then correlate (-1 to 1).

    :param focal: of the pictures, pixels; the angle is wrong by as much as it is.
    :param axis: 1 for a turn to the right, 0 for one down.
    :param limit: the largest angle that is looked for.
    """
    if axis == 0:
        a, b = View(a.contrast.T, a.mask.T), View(b.contrast.T, b.mask.T)
    x, y, depth = _cylinder(a.shape, focal)
    a, b = (_rows(_remapped(view, x, y, depth)) for view in (a, b))
    scores, overlap = _correlation(a, b)
    width = a.shape[1]
    reach = min(width - 2, round(limit * focal))
    lags = np.arange(-reach, reach + 1)
    there = scores[lags % len(scores)]
    there[overlap[lags % len(overlap)] < LEAST_OVERLAP * overlap[0]] = -1
    best = int(np.argmax(there))
    # What turns right moves to the left, so that a lag of the picture is the negative of the turn.
    return -float(lags[best] + _vertex(there, best)) / focal, float(there[best])


def _cylinder(shape: tuple[int, int], focal: float) -> tuple[Array, Array, NDArray[np.bool_]]:
    height, width = shape
    angle = (np.arange(width) - (width - 1) / 2) / focal
    rise = (np.arange(height) - (height - 1) / 2)[:, None]
    inside = np.abs(angle) < 1.5
    angle = np.where(inside, angle, 0.0)
    x = np.broadcast_to(focal * np.tan(angle) + (width - 1) / 2, shape)
    y = rise / np.cos(angle) + (height - 1) / 2
    return x.astype(np.float32), y.astype(np.float32), np.broadcast_to(inside, shape)


def _remapped(view: View, x: Array, y: Array, inside: NDArray[np.bool_]) -> View:
    mask = cv2.remap(view.mask, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
    moved = cv2.remap(view.contrast, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return View(np.asarray(moved, np.float32), np.where((mask > SEEN) & inside, 1, 0).astype(np.float32))


def _rows(view: View) -> View:
    """Return means of neighbouring rows, one in so many: a view that is tilted moves them up and down a little too."""
    size = (1, ROWS)
    weight = cv2.boxFilter(view.mask, -1, size)[::APART]
    mean = cv2.boxFilter(view.contrast * view.mask, -1, size)[::APART] / np.maximum(weight, 0.1)
    return View(np.asarray(mean, np.float32), np.where(weight > SEEN / 2, 1, 0).astype(np.float32))


def _correlation(a: View, b: View) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the normalised correlation of every lag along the rows, and the number of pixels that it is of."""
    length = cv2.getOptimalDFTSize(2 * a.shape[1])

    def transformed(picture: NDArray[np.float32]) -> NDArray[np.complex128]:
        return np.asarray(np.fft.rfft(picture, length, axis=1), np.complex128)

    ma, mb = transformed(a.mask), transformed(b.mask)
    fa, fb = transformed(a.contrast * a.mask), transformed(b.contrast * b.mask)
    qa, qb = transformed(a.contrast**2 * a.mask), transformed(b.contrast**2 * b.mask)

    def together(one: NDArray[np.complex128], other: NDArray[np.complex128]) -> NDArray[np.float64]:
        return np.fft.irfft((one.conj() * other).sum(axis=0), length)

    count = np.maximum(together(ma, mb), 1e-6)
    sum_a, sum_b = together(fa, mb), together(ma, fb)
    covariance = together(fa, fb) - sum_a * sum_b / count
    variance = (together(qa, mb) - sum_a**2 / count) * (together(ma, qb) - sum_b**2 / count)
    return covariance / np.sqrt(np.maximum(variance, 1e-6 * count**2)), count


def _vertex(values: NDArray[np.float64], best: int) -> float:
    """Return where between its neighbours the parabola through the best value has its top, -0.5 to 0.5."""
    if not 0 < best < len(values) - 1:
        return 0.0
    before, at, after = values[best - 1], values[best], values[best + 1]
    bend = before - 2 * at + after
    return 0.0 if bend >= 0 else float(np.clip((before - after) / (2 * bend), -0.5, 0.5))


@dataclass(frozen=True)
class Turn:
    """A turn of the view: `yaw` to the right and `pitch` down, radians; seen from `tilt` radians below the horizon.

    `shear`: the game draws a view up or down as the picture moved up or down, as Doom's renderer does; nothing else
    then counts but the pitch.
    """

    yaw: float = 0.0
    pitch: float = 0.0
    tilt: float = 0.0
    shear: bool = False


def agreement(a: View, b: View, turn: Turn, focal: float) -> float:
    """Return how well b correlates with what a would show after the turn, -1 to 1; -1 where too little overlaps."""
    size = (a.shape[1], a.shape[0])
    where = _homography(size, turn, focal)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    one = np.asarray(cv2.warpPerspective(a.contrast, where, size, flags=flags), np.float32)
    seen = cv2.warpPerspective(a.mask, where, size, flags=flags, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
    counts = (seen > SEEN) & (b.mask > SEEN)
    if np.count_nonzero(counts) < LEAST_OVERLAP * counts.size:
        return -1.0
    x, y = one[counts], b.contrast[counts]
    x, y = x - x.mean(), y - y.mean()
    length = math.sqrt(float(x @ x) * float(y @ y))
    return float(x @ y) / length if length else -1.0


def _homography(size: tuple[int, int], turn: Turn, focal: float) -> NDArray[np.float64]:
    """Return the matrix from a pixel after the turn to where it was in the picture before it, (3, 3)."""
    middle_x, middle_y = (size[0] - 1) / 2, (size[1] - 1) / 2
    if turn.shear:
        moved = np.eye(3)
        moved[1, 2] = focal * math.tan(turn.pitch)
        return moved
    lens = np.array(((focal, 0, middle_x), (0, focal, middle_y), (0, 0, 1)))
    return lens @ _rotation(turn) @ np.linalg.inv(lens)


def _rotation(turn: Turn) -> NDArray[np.float64]:
    """Return the matrix from a direction seen after the turn to the same seen before it; y is down."""

    def about_x(angle: float) -> NDArray[np.float64]:
        c, s = math.cos(angle), math.sin(angle)
        return np.array(((1, 0, 0), (0, c, s), (0, -s, c)))

    c, s = math.cos(turn.yaw), math.sin(turn.yaw)
    about_vertical = np.array(((c, 0, s), (0, 1, 0), (-s, 0, c)))
    # The head is tilted, then turned about the upright axis; pitch is about its own.
    return about_x(turn.tilt).T @ about_vertical @ about_x(turn.tilt) @ about_x(turn.pitch)


def best(objective: Callable[[float], float], low: float, high: float, coarse: int, tolerance: float) -> float:
    """Return where between low and high a function with one top is greatest: a coarse look, then a golden section.

    :raises UserError: the best is at the border.
    """
    points = np.linspace(low, high, coarse)
    values = [objective(float(point)) for point in points]
    top = int(np.argmax(values))
    if top in (0, coarse - 1):
        raise UserError("the pictures fit no turn that was looked for")
    left, right = float(points[top - 1]), float(points[top + 1])
    ratio = (math.sqrt(5) - 1) / 2
    inner, outer = right - ratio * (right - left), left + ratio * (right - left)
    at_inner, at_outer = objective(inner), objective(outer)
    while right - left > tolerance:
        if at_inner > at_outer:
            right, outer, at_outer = outer, inner, at_inner
            inner = right - ratio * (right - left)
            at_inner = objective(inner)
        else:
            left, inner, at_inner = inner, outer, at_outer
            outer = left + ratio * (right - left)
            at_outer = objective(outer)
    return (left + right) / 2
