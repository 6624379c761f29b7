from __future__ import annotations

import json

import pytest

from torchkiln.serving.metrics import Histogram, Metrics, text

LABELS = (("model", 'a"b\\c\n'), ("version", "1"))


def test_histograms_count_by_bounds() -> None:
    made = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 3.0):
        made.observe(value)
    assert made.counts == [2, 1, 1] and made.sum == 6.0


def test_the_text_is_what_prometheus_reads() -> None:
    parser = pytest.importorskip("prometheus_client.parser")
    metrics = Metrics()
    metrics.add("torchkiln_requests_total", (*LABELS, ("status", "200")), 2)
    metrics.put("torchkiln_queue_rows", 3, LABELS)
    metrics.histogram("torchkiln_batch_rows", LABELS).observe(5)
    assert metrics.histogram("torchkiln_batch_rows", LABELS).sum == 5
    states = [metrics.state(), json.loads(json.dumps(metrics.state()))]  # another worker's comes from a file
    families = {f.name: f for f in parser.text_string_to_metric_families(text(states))}
    requests = families["torchkiln_requests"].samples[0]
    assert requests.value == 4 and requests.labels["model"] == 'a"b\\c\n'
    assert families["torchkiln_queue_rows"].samples[0].value == 6
    rows = {s.labels.get("le"): s.value for s in families["torchkiln_batch_rows"].samples if s.name.endswith("bucket")}
    assert rows["4"] == 0 and rows["8"] == 2 and rows["+Inf"] == 2


def test_of_drift_the_largest_counts() -> None:
    one, other = Metrics(), Metrics()
    one.put("torchkiln_drift_psi", 0.1, LABELS)
    other.put("torchkiln_drift_psi", 0.3, LABELS)
    assert text([one.state(), other.state()]).splitlines()[-1].endswith(" 0.3")
