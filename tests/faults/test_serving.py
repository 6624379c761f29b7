"""What goes wrong around a server: nothing that was asked is lost without an answer, and nobody waits for ever."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bundles
import pytest
import servers
from servers import Process

PREDICT = "/v1/models/m:predict"
TWO = ("--workers", "2")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bundles.table(tmp_path_factory.mktemp("bundle") / "table")


@pytest.fixture
def models(tmp_path: Path, bundle: Path) -> Path:
    """A folder of one model with one version."""
    shutil.copytree(bundle, tmp_path / "models" / "m" / "1")
    return tmp_path / "models"


@contextlib.contextmanager
def load(server: Process, threads: int = 4) -> Iterator[Counter[Any]]:
    """Clients that ask without pause; statuses, or names of errors, are counted."""
    seen: Counter[Any] = Counter()
    over = threading.Event()

    def ask() -> None:
        import http.client

        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        body = json.dumps(bundles.RECORD)
        while not over.is_set():
            try:
                connection.request("POST", PREDICT, body, {"content-type": "application/json"})
                answer = connection.getresponse()
                answer.read()
                seen[answer.status] += 1
                if answer.status == 503:
                    time.sleep(0.01)
            except Exception as error:  # what a client would see
                seen[type(error).__name__] += 1
                connection.close()
                time.sleep(0.02)
        connection.close()

    clients = [threading.Thread(target=ask) for _ in range(threads)]
    for client in clients:
        client.start()
    try:
        yield seen
    finally:
        over.set()
        for client in clients:
            client.join(15)
    assert not any(client.is_alive() for client in clients), "a client hangs"


def until(true: Any, seconds: float) -> float:
    """Seconds until something holds."""
    begun = time.monotonic()
    while not true():
        assert time.monotonic() - begun < seconds, "it never came"
        time.sleep(0.02)
    return time.monotonic() - begun


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def ready(server: Process) -> bool:
    try:
        return server.ask("/readyz", timeout=2).status == 200
    except OSError:
        return False


@pytest.mark.slow
def test_a_worker_that_is_killed_is_replaced(bundle: Path) -> None:
    with servers.process(f"m={bundle}", options=TWO) as server:
        first = server.workers()
        assert len(first) == 2
        with load(server) as seen:
            until(lambda: seen[200] > 50, 10)
            os.kill(first[0], signal.SIGKILL)
            until(lambda: len(set(server.workers()) - set(first)) == 1, 3)
            until(lambda: ready(server), 10)
            at = seen[200]
            until(lambda: seen[200] > at + 50, 10)
        assert set(seen) <= {200, 503, "ConnectionResetError", "RemoteDisconnected", "BrokenPipeError"}
        assert sum(n for what, n in seen.items() if what != 200) < 20
        assert "torchkiln_restarts_total 1" in server.ask("/metrics").body.decode()
        assert server.stop() == 0


@pytest.mark.slow
def test_without_its_supervisor_nothing_is_left(bundle: Path) -> None:
    with servers.process(f"m={bundle}", options=TWO) as server:
        workers = server.workers()
        os.kill(server.process.pid, signal.SIGKILL)
        until(lambda: not any(alive(worker) for worker in workers), 5)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", server.port), timeout=1)


@pytest.mark.slow
def test_a_worker_that_stands_still_is_told_and_replaced(bundle: Path) -> None:
    with servers.process(f"m={bundle}", options=TWO) as server:
        stopped = server.workers()[0]
        os.kill(stopped, signal.SIGSTOP)

        def unready() -> bool:
            with contextlib.suppress(OSError):
                return server.ask("/readyz", timeout=0.5).status == 503
            return False  # it was asked of the one that stands still

        assert until(unready, 5) < 4
        until(lambda: stopped not in server.workers() and len(server.workers()) == 2, 12)
        until(lambda: ready(server), 10)


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_term_under_load_ends_in_order(bundle: Path, workers: str) -> None:
    with servers.process(f"m={bundle}", options=("--workers", workers, "--drain", "3")) as server, load(server) as seen:
        until(lambda: seen[200] > 50, 10)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(10) == 0
        assert set(seen) <= {200, 503, "ConnectionRefusedError", "RemoteDisconnected", "ConnectionResetError"}
        lost = seen["RemoteDisconnected"] + seen["ConnectionResetError"]
        assert lost <= 2, seen  # a connection that was taken in the very moment of the end
        assert seen[503] > 0


@pytest.mark.slow
def test_what_is_on_its_way_is_answered_after_a_term(bundle: Path) -> None:
    with servers.process(f"m={bundle}") as server:
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            body = json.dumps(bundles.RECORD).encode()
            head = b"POST " + PREDICT.encode() + b" HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
            connection.sendall(head + b"content-length: %d\r\n\r\n" % len(body))
            time.sleep(0.3)
            server.process.send_signal(signal.SIGTERM)
            time.sleep(0.3)
            connection.sendall(body)
            answer = connection.recv(10_000)
        assert answer.startswith(b"HTTP/1.1 200") and b"connection: close" in answer
        assert server.process.wait(10) == 0


def change(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.slow
def test_a_bad_reload_leaves_the_old_version_at_work(models: Path, bundle: Path, tmp_path: Path) -> None:
    shutil.copytree(bundle, models / "m" / "2")
    with servers.process(models, options=("--limit", "bundle_mb=1", "--workers", "1")) as server:

        def refused(version: str, why: str) -> None:
            answer = server.ask("/v2/repository/models/m/load", b"")
            assert server.ask(PREDICT, bundles.RECORD).json["version"] == "2"
            rows = {r["version"]: r for r in server.ask("/v2/repository/index", b"").json}
            assert rows["2"]["state"] == "READY"
            assert rows[version]["state"] == "UNAVAILABLE" and why in rows[version]["reason"], (rows, answer)
            assert str(tmp_path) not in rows[version]["reason"]
            shutil.rmtree(models / "m" / version)

        names = sorted(p.relative_to(bundle) for p in bundle.rglob("*") if p.is_file())
        for number, name in enumerate(names):  # a bit flipped in each file
            version = str(10 + number)
            shutil.copytree(bundle, models / "m" / version)
            change(models / "m" / version / name)
            refused(version, "")
        shutil.copytree(bundle, models / "m" / "50")
        (models / "m" / "50" / "model.onnx").unlink()  # half-written
        refused("50", "model.onnx is missing")
        bundles.text(models / "m" / "52")
        refused("52", "other fields")
        shutil.copytree(bundle, models / "m" / "51")
        (models / "m" / "51" / "more.bin").write_bytes(bytes(2_000_000))
        refused("51", "raise --limit bundle_mb")


@pytest.mark.slow
def test_an_unsigned_bundle_is_refused_where_signatures_are_asked_for(bundle: Path, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key = tmp_path / "public.pem"
    public = Ed25519PrivateKey.generate().public_key()
    key.write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    code, said = failed(f"m={bundle}", "--require-signature", str(key))
    assert code == 2 and "sign" in said


def failed(*words: str) -> tuple[int, str]:
    """Exit code and words of a server that does not start."""
    env = {**os.environ, "PYTHONPATH": str(servers.SOURCE)}
    made = subprocess.run(
        [sys.executable, "-m", "torchkiln", "serve", *words], env=env, capture_output=True, timeout=60
    )
    return made.returncode, made.stderr.decode()


@pytest.mark.slow
def test_a_port_that_is_taken(bundle: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        for workers in ("1", "2"):
            port = str(taken.getsockname()[1])
            code, said = failed(f"m={bundle}", "--port", port, "--workers", workers)
            assert code == 2 and port in said and "--port" in said and "Traceback" not in said


@pytest.mark.slow
def test_a_certificate_that_cannot_be_read(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_text("nothing")
    code, said = failed(f"m={bundle}", "--port", "0", "--tls-cert", str(tmp_path / "cert.pem"))
    assert code == 2 and "cert.pem" in said and "Traceback" not in said


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_bundle_that_cannot_be_read_stops_the_start(bundle: Path, tmp_path: Path, workers: str) -> None:
    shutil.copytree(bundle, tmp_path / "b")
    change(tmp_path / "b" / "model.onnx")
    code, said = failed(f"m={tmp_path / 'b'}", "--port", "0", "--workers", workers)
    assert code == 2 and "model.onnx" in said and "Traceback" not in said


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full to be a full disk")
def test_a_full_disk_at_the_log_costs_lines_and_no_request(bundle: Path) -> None:
    options = ("--access-log", "/dev/full", "--request-log", "/dev/full", "--request-share", "1")
    with servers.process(f"m={bundle}", options=options) as server:
        assert all(server.ask(PREDICT, bundles.RECORD).status == 200 for _ in range(5))
        time.sleep(1.2)
        lost = server.ask("/metrics").body.decode().split("torchkiln_log_lost_total ")[-1].split()[0]
        assert float(lost) >= 5


@pytest.mark.slow
def test_idle_and_half_sent_connections_do_not_stop_others(bundle: Path) -> None:
    options = ("--limit", "head_seconds=1", "--limit", "body_seconds=1", "--workers", "1",
               "--limit", "connections=1500")  # fmt: skip
    with servers.process(f"m={bundle}", options=options) as server, contextlib.ExitStack() as open_ones:

        def connect(sent: bytes) -> socket.socket:
            one = open_ones.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=5))
            one.sendall(sent)
            return one

        for _ in range(1000):
            connect(b"")
        half = [connect(b"POST / HTTP/1.1\r\nho") for _ in range(200)]
        half += [connect(b"POST " + PREDICT.encode() + b" HTTP/1.1\r\ncontent-length: 9\r\n\r\n{") for _ in range(200)]
        begun = time.monotonic()
        assert server.ask(PREDICT, bundles.RECORD).status == 200
        assert time.monotonic() - begun < 2
        assert all(one.recv(100).startswith(b"HTTP/1.1 408") for one in half)
        assert server.ask(PREDICT, bundles.RECORD).status == 200


@pytest.mark.slow
def test_a_bundle_that_is_deleted_goes_on(models: Path) -> None:
    with servers.process(models, options=("--watch", "--workers", "1")) as server:
        shutil.rmtree(models / "m")
        time.sleep(2.5)
        assert server.ask(PREDICT, bundles.RECORD).status == 200
        assert ready(server)


@pytest.mark.slow
def test_two_servers_on_one_folder(models: Path, bundle: Path) -> None:
    shutil.copytree(bundle, models / "m" / "2")
    options = ("--watch", "--workers", "1", "--versions", "all")
    with servers.process(models, options=options) as one, servers.process(models, options=options) as two:
        assert one.ask("/v1/models/m/routing", {"aliases": {"default": "1"}}, method="PUT").status == 200
        for server in (one, two):
            until(lambda server=server: server.ask(PREDICT, bundles.RECORD).json["version"] == "1", 5)


@pytest.mark.slow
def test_an_order_reaches_every_worker(models: Path, bundle: Path) -> None:
    shutil.copytree(bundle, models / "m" / "2")
    with servers.process(models, options=(*TWO, "--versions", "all")) as server:
        with load(server) as seen:
            until(lambda: seen[200] > 20, 10)
            for version in ("1", "2", "1"):
                answer = server.ask("/v1/models/m/routing", {"aliases": {"default": version}}, method="PUT")
                assert answer.status == 200 and answer.json["default"] == version
                # each connection may meet another worker
                assert {server.ask(PREDICT, bundles.RECORD).json["version"] for _ in range(20)} == {version}
        assert set(seen) == {200}
        os.kill(server.workers()[0], signal.SIGKILL)  # who comes anew learns of the orders
        time.sleep(0.3)
        until(lambda: ready(server), 10)
        assert {server.ask(PREDICT, bundles.RECORD).json["version"] for _ in range(20)} == {"1"}
