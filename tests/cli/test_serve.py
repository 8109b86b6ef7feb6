"""`gavamoe serve` as a process: help, refusals, reload on SIGHUP and an orderly end on SIGTERM."""

import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

pytest.importorskip("fastapi", reason="the service needs the extra 'serve'")

import httpx2

from gavamoe.run import RunDirectory

SERVE = [sys.executable, "-m", "gavamoe", "serve"]


def test_help_needs_no_heavy_import():
    code = (
        "import sys; from typer.testing import CliRunner; "
        "from gavamoe.cli.main import app;"
        "assert CliRunner().invoke(app, ['serve', '--help']).exit_code == 0;"
        "print({'torch', 'fastapi', 'transformers', 'sqlalchemy'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "set()"


def test_what_cannot_be_served_is_one_line_and_exit_code_2(gavamoe, run_path, tmp_path, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for arguments, key, line in (
            ([tmp_path / "missing", "--port", 0, "--store", "none"], None, "there is no run at"),
            ([run_path, "--host", "0.0.0.0"], None, "set the environment variable GAVAMOE_API_KEY"),
            ([run_path, "--store", "none"], "a b", "must be printable ASCII"),
            ([run_path, "--store", "mysql://h/d"], None, "the store cannot be mysql"),
            ([run_path, "--port", port, "--store", "none"], None, "choose another --host or --port"),
        ):
            monkeypatch.delenv("GAVAMOE_API_KEY", raising=False)
            if key is not None:
                monkeypatch.setenv("GAVAMOE_API_KEY", key)
            code, out, err = gavamoe("serve", *arguments)
            assert (code, out) == (2, "")
            assert line in err
            assert len(err.strip().splitlines()) == 1


@pytest.mark.parametrize("name", ["run", "50%25", "a?b=c"])
def test_the_store_is_the_file_beside_the_run_whatever_its_name(gavamoe, tmp_path, monkeypatch, name):
    from gavamoe.service import server

    def connect(path, settings, *rest):
        store = server.connect_store(settings.store)
        assert store is not None
        store.close()

    monkeypatch.setattr(server, "serve", connect)
    (tmp_path / name).mkdir()
    code, _, err = gavamoe("serve", tmp_path / name)
    assert code == 0, err
    assert {path.name for path in tmp_path.iterdir()} == {name, f"{name}.sqlite"}


@pytest.fixture
def server(run_path, tmp_path):
    """A server of a link to a run, on a free port; its first line on stdout says where."""
    for name in ("one", "two"):
        shutil.copytree(run_path, tmp_path / name)
    settings = tmp_path / "two" / "explainer" / "generation_config.json"
    settings.write_text(json.dumps({**json.loads(settings.read_text()), "do_sample": False}))
    RunDirectory(tmp_path / "two").break_seal()
    (tmp_path / "run").symlink_to("one")
    process = subprocess.Popen(
        [*SERVE, str(tmp_path / "run"), "--port", "0", "--json"],
        stdout=subprocess.PIPE,
        stderr=(tmp_path / "log").open("w"),
        text=True,
    )
    ready = json.loads(process.stdout.readline())
    yield process, ready, tmp_path
    process.kill()
    process.wait(30)


def test_a_sighup_while_the_run_is_loaded_reads_it_again_as_soon_as_it_is_served(run_path, monkeypatch):
    from gavamoe.service import server
    from gavamoe.service.settings import ServiceSettings

    load, reloaded = server.ServedRun.load, []

    def hang_up(*arguments):
        signal.raise_signal(signal.SIGHUP)
        return load(*arguments)

    monkeypatch.setattr(server.ServedRun, "load", hang_up)
    monkeypatch.setattr(server._Server, "run", lambda self, sockets: self.on_ready())
    monkeypatch.setattr(server, "log_as_json", lambda: None)
    monkeypatch.setattr(server, "reload_in_background", reloaded.append)
    before = signal.getsignal(signal.SIGHUP)
    served = []
    server.serve(run_path, ServiceSettings(port=0, store=None), False, lambda url, service: served.append(service))
    served[0].close()
    assert reloaded == served
    assert signal.getsignal(signal.SIGHUP) is before


def test_the_service_ends_with_one_line_when_its_worker_dies(run_path, monkeypatch):
    from gavamoe.errors import RunError
    from gavamoe.service import server
    from gavamoe.service.settings import ServiceSettings
    from gavamoe.service.worker import DeviceLostError, Job, WorkerDeadError

    served = []

    def run(self, sockets):
        self.on_ready()
        (service,) = served

        def lose(jobs):
            raise DeviceLostError("CUDA error")

        service.worker.perform = lose
        job = Job("a", None)
        service.worker.submit([job])
        with pytest.raises(WorkerDeadError):
            job.future.result(30)
        until = time.monotonic() + 30
        while not self.should_exit:
            assert time.monotonic() < until
            time.sleep(0.01)

    monkeypatch.setattr(server._Server, "run", run)
    monkeypatch.setattr(server, "log_as_json", lambda: None)
    with pytest.raises(RunError, match="start the service again"):
        server.serve(run_path, ServiceSettings(port=0, store=None), False, lambda url, service: served.append(service))


def test_sighup_serves_the_new_run_and_sigterm_finishes_what_was_accepted(server):
    process, ready, folder = server
    assert ready["run"].startswith("one@")
    assert ready["store"].endswith("run.sqlite")
    pairs = [{"user": f"u{number:02d}", "item": "i01"} for number in range(1, 9)]
    with httpx2.Client(base_url=ready["url"], timeout=120) as client:
        assert client.post("/v1/explain", json={"pairs": pairs[:1]}).json()["run"] == ready["run"]
        (folder / "run").unlink()
        (folder / "run").symlink_to("two")
        process.send_signal(signal.SIGHUP)
        until = time.monotonic() + 60
        while not (now := client.get("/health/ready").json())["run"].startswith("two@"):
            assert time.monotonic() < until
            time.sleep(0.1)
        answers = []
        body = {"pairs": pairs, "decoding": {"max_new_tokens": 120, "min_new_tokens": 120, "candidates": 8}}
        body["decoding"] |= {"do_sample": True, "temperature": 1}
        accepted = threading.Thread(target=lambda: answers.append(client.post("/v1/explain", json=body)))
        accepted.start()
        while 'gavamoe_store_lookups_total{outcome="miss"} 9.0' not in client.get("/metrics").text:
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        accepted.join(120)
    assert process.wait(60) == 0
    assert answers[0].status_code == 200
    assert answers[0].json()["run"] == now["run"]
    assert len(answers[0].json()["explanations"]) == 8
    from gavamoe.pipeline.explanation_store import ExplanationStore

    assert ExplanationStore(f"sqlite:///{folder / 'run.sqlite'}").count()["explanations"] == 9
    lines = [json.loads(line) for line in (folder / "log").read_text().splitlines() if line.startswith("{")]
    assert {"request", "run"} <= {line.get("event") for line in lines}
    assert not any("u01" in json.dumps(line) for line in lines)
