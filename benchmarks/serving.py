"""The server beside its peers and beside ONNX Runtime in process: CPU, rate, overload, reloads, memory.

python benchmarks/serving.py [ROW...] [--check] [--json FILE] [--env DIR]
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from figures import HERE, Figure, command_line, environment, in_turns, median, peers_python

ROUNDS, SECONDS = 1, 1.5
PEERS = {
    "fastapi": ["fastapi==0.165.0", "uvicorn==0.54.0", "httptools", "uvloop", "onnxruntime==1.31.1", "pydantic"],
    "litserve": ["litserve==0.2.19", "onnxruntime==1.31.1"],
    "bentoml": ["bentoml==1.4.39", "onnxruntime==1.31.1"],
}
"""Pinned, each in an environment of its own."""
MAKE = """
import sys, json, numpy as np, torch, torchvision
from pathlib import Path
from torchkiln.bundle.write import Draft
from torchkiln.bundle import schema
from torchkiln.codec.base import ArraySpec, Axis
folder, kind = Path(sys.argv[1]), sys.argv[2]
torch.manual_seed(0)
net, shape = {
    "mlp": lambda: (torch.nn.Sequential(torch.nn.Linear(20, 64), torch.nn.ReLU(), torch.nn.Linear(64, 64),
                                        torch.nn.ReLU(), torch.nn.Linear(64, 2)), (20,)),
    "resnet18": lambda: (torchvision.models.resnet18(num_classes=10), (3, 64, 64)),
}[kind]()
classes = 2 if kind == "mlp" else 10
outputs = [{"name": "output", "dtype": "float32", "shape": [None, classes]}]
with Draft(folder) as draft:
    batch = torch.export.Dim("batch")
    torch.onnx.export(net.eval(), (torch.zeros(2, *shape),), str(draft.path / "model.onnx"), input_names=["x"],
                      output_names=["output"], dynamic_shapes=({0: batch},), dynamo=True, external_data=False,
                      verbose=False)
    content = schema.make(None, [ArraySpec("x", "float32", (Axis("batch"), *shape))], outputs, "tensor")
    (draft.path / "schema.json").write_text(json.dumps(content))
    draft.finish({"name": kind, "run_id": "0" * 8, "task": "custom", "prediction_kind": "tensor",
                  "inputs": [{"name": "x", "dtype": "float32", "shape": [None, *shape]}], "outputs": outputs,
                  "models": {"onnx": {"file": "model.onnx", "proven": True, "inputs": {}, "outputs": {}}},
                  "serve": "onnx", "versions": {}, "licences": {}})
"""
IN_PROCESS = """
import sys, time, json, resource
sys.path.insert(0, sys.argv[3])
import numpy as np
from serving_peers import session
model, rows = session(sys.argv[1]), int(sys.argv[2])
shape = [n if isinstance(n, int) else rows for n in model.get_inputs()[0].shape]
x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
model.run(None, {"x": x})
begun, times = time.process_time(), 0
while time.process_time() - begun < 1.5:
    model.run(None, {"x": x})
    times += 1
memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"us": (time.process_time() - begun) / times / rows * 1e6, "memory": memory}))
"""


def bundle(folder: Path, kind: str) -> Path:
    """A bundle of the net, made once."""
    made = folder / kind
    if not made.exists():
        subprocess.run([sys.executable, "-W", "ignore", "-c", MAKE, made, kind], env=environment(), check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    return made


# Servers


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Server:
    """A server in a process of its own.

    Args:
        words: Its command line.
        port: Where it answers.
    """

    def __init__(self, words: Sequence[Any], port: int) -> None:
        self.where = f"127.0.0.1:{port}"
        self.begun = time.perf_counter()
        self.process = subprocess.Popen([str(w) for w in words], env=environment(), stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL, start_new_session=True)  # fmt: skip

    def wait(self, path: str, body: bytes | None = None, seconds: float = 60.0) -> float:
        """Seconds from its start until it answers with 200."""
        while time.perf_counter() - self.begun < seconds:
            with contextlib.suppress(OSError):
                headers = {"content-type": "application/json"}
                request = urllib.request.Request(f"http://{self.where}{path}", body, headers)
                if urllib.request.urlopen(request, timeout=5).status == 200:
                    return time.perf_counter() - self.begun
            if self.process.poll() is not None:
                break
            time.sleep(0.01)
        raise SystemExit(f"{self.process.args} does not answer")

    def tree(self) -> list[int]:
        """Its process and all below it."""
        found = [self.process.pid]
        for one in found:
            with contextlib.suppress(OSError):
                for task in Path(f"/proc/{one}/task").iterdir():
                    found += [int(child) for child in (task / "children").read_text().split()]
        return found

    def cpu(self) -> float:
        """Seconds of the processor that the tree has taken."""
        ticks = 0
        for one in self.tree():
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
                ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def memory(self) -> float:
        """MiB that are its own: what it shares with others is divided among them."""
        total = 0
        for one in self.tree():
            with contextlib.suppress(OSError):
                for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines():
                    total += int(line.split()[1]) if line.startswith("Pss:") else 0
        return total / 1024

    def stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextlib.contextmanager
def ours(*paths: Path, workers: int = 1, options: Sequence[str] = ()) -> Iterator[Server]:
    """Our server with all that is on by default, its access log included."""
    port = free_port()
    with tempfile.NamedTemporaryFile() as log:
        words = [sys.executable, "-m", "torchkiln", "serve", *paths, "--port", port, "--workers", workers,
                 "--access-log", log.name, *options]  # fmt: skip
        server = Server(words, port)
        try:
            yield server
        finally:
            server.stop()


@contextlib.contextmanager
def peer(env: Path, kind: str, model: Path) -> Iterator[Server]:
    """Another server, in its own environment."""
    python = peers_python(env, f"serving-{kind}", PEERS[kind]) if kind in PEERS else Path(sys.executable)
    port = free_port()
    server = Server([python, HERE / "serving_peers.py", kind, model / "model.onnx", port], port)
    try:
        yield server
    finally:
        server.stop()


def loaded(server: Server, path: str, body: Path, connections: int, *, seconds: float = SECONDS,
           headers: Sequence[str] = (), pause: float = 0.0) -> dict[str, Any]:  # fmt: skip
    """What clients saw of a server, and microseconds of CPU that each answer cost it."""
    words = [sys.executable, HERE / "serving_load.py", server.where, path, body, "--connections", connections,
             "--seconds", seconds, "--pause", pause]  # fmt: skip
    for header in headers:
        words += ["--header", header]
    before = server.cpu()
    done = subprocess.run([str(w) for w in words], env=environment(), capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    good = found["statuses"].get("200", 0)
    return {**found, "us": (server.cpu() - before) / max(good, 1) * 1e6, "good": good}


# Rows


def mlp_body(folder: Path, form: str = "record") -> Path:
    x = [round(0.37 * i % 3 - 1.5, 4) for i in range(20)]
    file = folder / f"mlp-{form}.json"
    file.write_text(json.dumps({"x": [x] if form == "batch" else x}))
    return file


def peers(folder: Path, env: Path) -> list[Figure]:
    """Requests a second at 64 connections, beside FastAPI, LitServe and BentoML."""
    made, body, batch = bundle(folder, "mlp"), mlp_body(folder), mlp_body(folder, "batch")
    floors = {"litserve": 10.0, "fastapi": 4.0, "bentoml": 15.0}
    with contextlib.ExitStack() as stack:
        mine = stack.enter_context(ours(made))
        mine.wait("/readyz")
        programs = {"ours": lambda: loaded(mine, "/v1/models/mlp:predict", body, 64)}
        for kind in floors:
            other = stack.enter_context(peer(env, kind, made))
            sent = batch if kind == "bentoml" else body
            other.wait("/predict", sent.read_bytes())
            programs[kind] = lambda other=other, sent=sent: loaded(other, "/predict", sent, 64)  # type: ignore[misc]
        found = in_turns(programs, ROUNDS)
    rate, cost = median(found["ours"], "rate"), median(found["ours"], "us")
    return [
        Figure("peers", f"requests/s at 64 connections over {kind}", f"{rate / median(found[kind], 'rate'):.1f} x",
               f">= {floor:g} x", f"{rate:,.0f} and {median(found[kind], 'rate'):,.0f} a second, "
               f"{cost:.0f} and {median(found[kind], 'us'):.0f} us CPU each",
               rate >= floor * median(found[kind], "rate"))
        for kind, floor in floors.items()
    ]  # fmt: skip


def cpu(folder: Path, env: Path) -> list[Figure]:
    """CPU of a request beside a bare reply of uvicorn."""
    made, body = bundle(folder, "mlp"), mlp_body(folder)
    with ours(made) as mine, peer(env, "bare", made) as bare:
        mine.wait("/readyz")
        bare.wait("/", b"{}")
        programs = {}
        for connections in (64, 1):
            for name, server in (("ours", mine), ("bare", bare)):
                programs[f"{name} {connections}"] = (
                    lambda s=server, n=connections: loaded(s, "/v1/models/mlp:predict", body, n)  # type: ignore[misc]
                )
        found = in_turns(programs, ROUNDS)
    figures = []
    for connections, floor in ((64, 45), (1, 80)):
        cost, plain = (median(found[f"{name} {connections}"], "us") for name in ("ours", "bare"))
        good = cost <= floor and (connections == 1 or cost <= 2.5 * plain)
        words = f"<= {floor} us" + (", <= 2.5 x bare" if connections == 64 else "")
        figures.append(Figure("cpu", f"CPU a request, {connections} connections", f"{cost:.0f} us", words,
                              f"bare uvicorn {plain:.0f} us: {cost / plain:.2f} x", good))  # fmt: skip
    return figures


def pictures(folder: Path, env: Path) -> list[Figure]:
    """ResNet-18 at 64 pixels: binary and JSON beside ONNX Runtime in process at the same batch."""
    import numpy as np

    made = bundle(folder, "resnet18")
    x = np.random.default_rng(0).normal(size=(1, 3, 64, 64)).astype(np.float32)
    head = json.dumps({"inputs": [{"name": "x", "shape": [1, 3, 64, 64], "datatype": "FP32",
                                   "parameters": {"binary_data_size": x.nbytes}}]}).encode()  # fmt: skip
    binary, text = folder / "picture.bin", folder / "picture.json"
    binary.write_bytes(head + x.tobytes())
    text.write_text(json.dumps({"x": x[0].round(4).tolist()}))
    length = [f"inference-header-content-length: {len(head)}"]

    def alone(rows: int) -> dict[str, Any]:
        words = [sys.executable, "-c", IN_PROCESS, made / "model.onnx", str(rows), HERE]
        done = subprocess.run(words, env=environment(), capture_output=True, text=True, check=True)
        return dict(json.loads(done.stdout))

    with ours(made) as mine:
        mine.wait("/readyz")
        way, route = "/v2/models/resnet18/infer", "/v1/models/resnet18:predict"
        found = in_turns(
            {
                "alone 1": lambda: alone(1),
                "binary 1": lambda: loaded(mine, way, binary, 1, headers=length),
                "JSON 1": lambda: loaded(mine, route, text, 1),
                "alone 8": lambda: alone(8),
                "binary 8": lambda: loaded(mine, way, binary, 8, headers=length),
                "binary 64": lambda: loaded(mine, way, binary, 64, headers=length),
            },
            ROUNDS,
        )
    figures = []
    for name, beside, floor in (
        ("binary 1", "alone 1", 1.15),
        ("binary 8", "alone 8", 1.15),
        ("JSON 1", "alone 1", 1.45),
    ):
        cost, plain = median(found[name], "us"), median(found[beside], "us")
        words = f"{cost / 1e3:.2f} and {plain / 1e3:.2f} ms in process"
        good = cost <= floor * plain
        figures.append(
            Figure("pictures", f"CPU, {name} connections", f"{cost / plain:.2f} x", f"<= {floor} x", words, good)
        )
    gain = median(found["binary 64"], "rate") / median(found["binary 1"], "rate")
    figures.append(Figure("pictures", "rate at 64 connections over 1", f"{gain:.2f} x", ">= 1.4 x", "", gain >= 1.4))
    return figures


def rest(folder: Path, env: Path) -> list[Figure]:
    """Start, idle CPU, and memory above ONNX Runtime and the model."""
    figures = []
    for kind, floor in (("mlp", 1.0), ("resnet18", 2.0)):
        made = bundle(folder, kind)
        starts = []
        for _ in range(ROUNDS):
            with ours(made) as mine:
                starts.append(mine.wait("/readyz"))
        start = statistics.median(starts)
        figures.append(
            Figure("rest", f"start to ready, {kind}", f"{start:.2f} s", f"<= {floor:g} s", "", start <= floor)
        )
    made = bundle(folder, "mlp")
    words = [sys.executable, "-c", "import sys; sys.path.insert(0, sys.argv[2])\nfrom serving_peers import session\n"
             "m = session(sys.argv[1])\nimport time; time.sleep(60)", made / "model.onnx", HERE]  # fmt: skip
    with ours(made) as mine:
        mine.wait("/readyz")
        alone = Server(words, 0)
        time.sleep(3)
        before = mine.cpu()
        time.sleep(10)
        idle = (mine.cpu() - before) / 10
        above = mine.memory() - alone.memory()
        alone.stop()
    figures.append(Figure("rest", "CPU without requests", f"{idle:.2%} of a core", "< 0.5 %", "", idle < 0.005))
    figures.append(
        Figure("rest", "memory above ONNX Runtime and the model", f"{above:.0f} MiB", "<= 40 MiB", "", above <= 40)
    )
    return figures


def overload(folder: Path, env: Path) -> list[Figure]:
    """5 and 10 times more than a ResNet-18 can answer, by clients that come again and again."""
    import numpy as np

    made = bundle(folder, "resnet18")
    x = np.zeros((1, 3, 64, 64), np.float32)
    head = json.dumps({"inputs": [{"name": "x", "shape": [1, 3, 64, 64], "datatype": "FP32",
                                   "parameters": {"binary_data_size": x.nbytes}}]}).encode()  # fmt: skip
    body = folder / "overload.bin"
    body.write_bytes(head + x.tobytes())
    headers = [f"inference-header-content-length: {len(head)}"]
    way, queue = "/v2/models/resnet18/infer", 64
    figures = []
    with ours(made, options=["--limit", "batch=8"]) as mine, peer(env, "bare", made) as bare:
        mine.wait("/readyz")
        bare.wait("/", b"{}")
        most = max(loaded(mine, way, body, 8, headers=headers, seconds=4)["rate"] for _ in range(3))
        for times in (5, 10):
            clients = 400
            pause = clients / (times * most)
            found = [loaded(mine, way, body, clients, headers=headers, pause=pause, seconds=6) for _ in range(3)]
            plain = [loaded(bare, "/", body, clients, pause=pause, seconds=3) for _ in range(3)]
            good = median(found, "rate") / most
            bound = queue / most + 2 * 8 / most + 0.1
            late, refused, reply = median(found, "p99"), median(found, "refused_p50"), median(plain, "p50")
            hung = sum(f["hung"] for f in found)
            figures += [
                Figure("overload", f"goodput at {times} x", f"{good:.2f}", ">= 0.8", f"{most:.0f} a second",
                       good >= 0.8),
                Figure("overload", f"p99 of the answered at {times} x", f"{late:.2f} s", f"<= {bound:.2f} s",
                       f"{hung} hung", late <= bound and not hung),
                Figure("overload", f"refusals at {times} x", f"{refused * 1e3:.1f} ms", f"<= {3 * reply * 1e3:.1f} ms",
                       f"a bare reply {reply * 1e3:.1f} ms", refused <= 3 * reply),
            ]  # fmt: skip
    return figures


def reloads(folder: Path, env: Path) -> list[Figure]:
    """100 times another version under load."""
    made, body, models = bundle(folder, "mlp"), mlp_body(folder), folder / "models"
    for version in ("1", "2"):
        if not (models / "mlp" / version).exists():
            (models / "mlp").mkdir(parents=True, exist_ok=True)
            subprocess.run(["cp", "-r", made, models / "mlp" / version], check=True)
    failed: list[str] = []
    with ours(models) as mine:
        mine.wait("/readyz")
        before = loaded(mine, "/v1/models/mlp:predict", body, 8, seconds=3)
        memory = mine.memory()

        def reload() -> None:
            for i in range(100):
                content = json.dumps({"aliases": {"default": str(1 + i % 2)}}).encode()
                headers = {"content-type": "application/json"}
                url = f"http://{mine.where}/v1/models/mlp/routing"
                request = urllib.request.Request(url, content, headers, method="PUT")
                try:
                    urllib.request.urlopen(request, timeout=20).read()
                except OSError as error:
                    failed.append(str(error))

        thread = threading.Thread(target=reload)
        thread.start()
        parts = []
        while thread.is_alive():
            parts.append(loaded(mine, "/v1/models/mlp:predict", body, 8, seconds=2))
        grown = mine.memory() - memory
    bad = sum(n for part in parts for status, n in part["statuses"].items() if status != "200") + len(failed)
    late = max(part["p99"] for part in parts) / before["p99"]
    model = (made / "model.onnx").stat().st_size / 2**20
    return [
        Figure("reloads", "failed requests", f"{bad}", "0", f"of {sum(p['requests'] for p in parts):,}", bad == 0),
        Figure("reloads", "p99 over that without", f"{late:.1f} x", "<= 2 x", f"{before['p99'] * 1e3:.1f} ms",
               late <= 2),
        Figure("reloads", "memory", f"{grown:+.1f} MiB", "<= 1.5 x one model", f"the model has {model:.2f} MiB",
               grown <= 1.5 * model + 2),
    ]  # fmt: skip


def many(folder: Path, env: Path) -> list[Figure]:
    """Memory over 100,000 requests."""
    made, body = bundle(folder, "mlp"), mlp_body(folder)
    with ours(made) as mine:
        mine.wait("/readyz")
        loaded(mine, "/v1/models/mlp:predict", body, 64, seconds=2)
        before, done = mine.memory(), 0
        while done < 100_000:
            done += loaded(mine, "/v1/models/mlp:predict", body, 64, seconds=2)["requests"]
        grown = mine.memory() - before
    return [
        Figure(
            "many", f"memory over {done:,} requests", f"{grown:+.1f} MiB", "<= 2 MiB", f"{before:.0f} MiB", grown <= 2
        )
    ]


ROWS = {"cpu": cpu, "peers": peers, "pictures": pictures, "rest": rest, "overload": overload, "reloads": reloads,
        "many": many}  # fmt: skip

if __name__ == "__main__":
    sys.exit(command_line(__doc__ or "", ROWS))
