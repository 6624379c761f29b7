"""What all tasks share."""

import math

import numpy as np
import torch

from torchkiln.tasks._base import Metric, scores, softmax


def test_probabilities_are_float32_and_sum_to_one() -> None:
    chances = softmax(torch.tensor([[1000.0, 0.0], [0.0, 0.0]], dtype=torch.bfloat16))
    assert chances.dtype == torch.float32
    assert chances.tolist() == [[1.0, 0.0], [0.5, 0.5]]


def test_scores_are_by_name_and_undefined_ones_nan() -> None:
    metrics = [Metric("n", lambda t, p: float(len(t)), True), Metric("bad", lambda t, p: float((p / p)[0]), True)]
    found = scores(metrics, np.zeros(3), np.zeros(3))
    assert found["n"] == 3 and math.isnan(found["bad"])
