import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.boxes import Decoder, nms
from engine.darknet import Network, parse_cfg
from tests.networks import CFG


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def plainly(network: Network, outputs: list[np.ndarray], threshold: float) -> set[tuple]:
    """Decode one cell at a time, by Darknet's formulas."""
    found = set()
    for head, raw in zip(network.heads, outputs, strict=True):
        h, w, _ = raw.shape
        scale = head.scale_x_y
        for y in range(h):
            for x in range(w):
                for a, (anchor_w, anchor_h) in enumerate(head.anchors):
                    row = [float(v) for v in raw[y, x, a * (5 + head.classes) : (a + 1) * (5 + head.classes)]]
                    if head.new_coords:
                        objectness, classes = row[4], row[5:]
                        bx, by = row[0], row[1]
                        bw, bh = (2 * row[2]) ** 2 * anchor_w, (2 * row[3]) ** 2 * anchor_h
                    else:
                        objectness, classes = sigmoid(row[4]), [sigmoid(v) for v in row[5:]]
                        bx, by = sigmoid(row[0]), sigmoid(row[1])
                        bw, bh = math.exp(row[2]) * anchor_w, math.exp(row[3]) * anchor_h
                    cx = (x + bx * scale - (scale - 1) / 2) / w * network.width
                    cy = (y + by * scale - (scale - 1) / 2) / h * network.height
                    for class_id, probability in enumerate(classes):
                        score = objectness * probability
                        if score > threshold:
                            box = (cx - bw / 2, cy - bh / 2, cx + bw / 2, cy + bh / 2)
                            found.add((class_id, round(score, 3), *(round(v, 1) for v in box)))
    return found


def heads(network: Network, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    outputs = []
    for head in network.heads:
        raw = rng.normal(-1, 1.5, network.layers[head.index].shape).astype(np.float32)
        outputs.append(1 / (1 + np.exp(-raw)) if head.new_coords else raw)
    return outputs


@pytest.mark.parametrize("threshold", [0.2, 0.4])
def test_decodes_as_darknet_does(threshold: float) -> None:
    network = parse_cfg(CFG)
    outputs = heads(network, 4)
    boxes, scores, classes = Decoder(network, threshold, nms=1.0).decode(outputs)
    assert (boxes.dtype, scores.dtype, classes.dtype) == (np.float32, np.float32, np.int32)
    expected = sorted(plainly(network, outputs, threshold))
    actual = sorted((int(c), float(s), *(float(v) for v in b)) for b, s, c in zip(boxes, scores, classes, strict=True))
    assert len(actual) == len(expected) > 10
    np.testing.assert_allclose(sorted(map(sum, actual)), sorted(map(sum, expected)), atol=0.3)
    by_score = sorted(actual, key=lambda row: (row[0], row[1]))
    np.testing.assert_allclose(
        [row[:2] for row in by_score],
        [row[:2] for row in sorted(expected, key=lambda row: (row[0], row[1]))],
        atol=1e-3,
    )


def test_views_of_planar_outputs_decode_alike() -> None:
    network = parse_cfg(CFG)
    outputs = heads(network, 9)
    views = [np.ascontiguousarray(raw.transpose(2, 0, 1)).transpose(1, 2, 0) for raw in outputs]
    decoder = Decoder(network, 0.3, 0.45)
    for a, b in zip(decoder.decode(outputs), decoder.decode(views), strict=True):
        assert np.array_equal(a, b)


def test_memory_that_an_engine_fills_again_decodes_as_new() -> None:
    network = parse_cfg(CFG)
    first, then = heads(network, 1), heads(network, 2)
    decoder = Decoder(network, 0.3, 0.45)
    once = decoder.decode(first)
    for memory, content in zip(first, then, strict=True):
        memory[...] = content
    expected = Decoder(network, 0.3, 0.45).decode(then)
    for again in (decoder.decode(first), decoder.decode(then), decoder.decode([raw.copy() for raw in then])):
        for a, b in zip(again, expected, strict=True):
            assert np.array_equal(a, b)
    assert once[1].tolist() != expected[1].tolist()


def test_so_does_memory_with_gaps() -> None:
    network = parse_cfg(CFG)
    shapes = [raw.shape for raw in heads(network, 1)]
    gaps = [np.zeros((h, w + 1, depth), np.float32)[:, :w] for h, w, depth in shapes]
    decoder = Decoder(network, 0.3, 0.45)
    for seed in (1, 2):
        then = heads(network, seed)
        for memory, content in zip(gaps, then, strict=True):
            memory[...] = content
        for a, b in zip(decoder.decode(gaps), Decoder(network, 0.3, 0.45).decode(then), strict=True):
            assert np.array_equal(a, b)


def test_half_precision_decodes_as_the_same_numbers_do() -> None:
    network = parse_cfg(CFG)
    halves = [raw.astype(np.float16) for raw in heads(network, 3)]
    for threshold in (0.05, 0.3, 0.7):
        decoder = Decoder(network, threshold, 0.45)
        for a, b in zip(decoder.decode(halves), decoder.decode([h.astype(np.float32) for h in halves]), strict=True):
            assert np.array_equal(a, b)


def test_nothing_above_the_threshold() -> None:
    network = parse_cfg(CFG)
    outputs = [
        np.full(network.layers[h.index].shape, 0.0 if h.new_coords else -20.0, np.float32) for h in network.heads
    ]
    boxes, scores, classes = Decoder(network, 0.25, 0.45).decode(outputs)
    assert boxes.shape == (0, 4)
    assert len(scores) == len(classes) == 0


def greedy(boxes: np.ndarray, scores: np.ndarray, classes: np.ndarray, limit: float) -> list[int]:
    keep: list[int] = []
    for i in np.argsort(-scores, kind="stable"):
        if all(classes[i] != classes[j] or iou(boxes[i], boxes[j]) <= limit for j in keep):
            keep.append(int(i))
    return keep


def iou(a: np.ndarray, b: np.ndarray) -> float:
    w = min(a[2], b[2]) - max(a[0], b[0])
    h = min(a[3], b[3]) - max(a[1], b[1])
    if w <= 0 or h <= 0:
        return 0.0
    both = w * h
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


@given(st.integers(0, 40), st.integers(0, 10_000), st.sampled_from([0.3, 0.45, 0.6]))
def test_suppression_is_greedy_within_a_class(n: int, seed: int, limit: float) -> None:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 60, (n, 2))
    boxes = np.concatenate((corner, corner + rng.uniform(5, 40, (n, 2))), 1).astype(np.float32)
    scores = rng.permutation(n).astype(np.float32) / max(n, 1) * 0.9 + 0.05
    classes = rng.integers(0, 3, n).astype(np.int32)
    kept_boxes, kept_scores, kept_classes = nms((boxes, scores, classes), limit)
    expected = greedy(boxes, scores, classes, limit)
    assert kept_scores.tolist() == scores[expected].tolist()
    assert kept_classes.tolist() == classes[expected].tolist()
    assert kept_boxes.tolist() == boxes[expected].tolist()
