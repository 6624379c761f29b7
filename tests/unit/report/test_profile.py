from torchkiln.report.profile import lines

FOUND = {
    "bound": "input",
    "shares": {"input": 0.62, "compute": 0.2, "memory bandwidth": 0.1, "launch overhead": 0.05, "logging": 0.03},
    "seconds_per_step": 0.01234, "steps": 100, "flops_per_step": 1e9, "achieved_flops": 8.1e10, "peak_flops": 1.62e11,
    "bytes_per_step": 1e7, "achieved_bandwidth": 8.1e8, "peak_bandwidth": 2e10, "operations_per_step": 1234,
    "seconds_per_launch": 2.5e-6, "beside_the_net": {"Net.log": 0.001}, "next": "read ahead: data.workers=1",
    "settings": {"device": "cpu", "threads": 1, "precision": "bf16", "batch_size": 32}, "trace": None,
}  # fmt: skip


def test_the_verdict_comes_first_and_the_next_step_last() -> None:
    said = [text for _, text in lines(FOUND)]
    assert said[0] == "Bound by input: 62 % of a step" and said[-1] == "Next: read ahead: data.workers=1"
    whole = "\n".join(said)
    assert "81 GFLOP/s of 162 GFLOP/s in a matrix product (50 %)" in whole
    assert "810 MB/s moved of 20 GB/s" in whole and "1,234 operations a step; the smallest takes 2.5 us" in whole
    assert "12.3 ms, of 100 timed; batch 32, cpu, 1 thread, precision bf16" in whole and "Net.log: 1 ms a step" in whole


def test_a_trace_is_named() -> None:
    assert lines({**FOUND, "trace": "t.json"})[-1][1] == "Trace: t.json (open it at ui.perfetto.dev)"


def test_more_than_the_peak_is_explained() -> None:
    beyond = "more than all: convolutions have kernels of their own"
    assert not any(beyond in text for _, text in lines(FOUND))
    assert any(beyond in text for _, text in lines({**FOUND, "achieved_flops": 2e11}))
