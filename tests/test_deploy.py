"""The files of deploy/ start the service with options that it has, and read metrics that it exports."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from typer.main import get_command
from yaml import safe_load

pytest.importorskip("fastapi", reason="the service needs the extra 'serve'")

from gavamoe.cli.main import app
from gavamoe.service.metrics import ServiceMetrics

DEPLOY = Path(__file__).parents[1] / "deploy"
COMPOSE = safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))


def serve_commands() -> dict[str, str]:
    """Return the `gavamoe serve` command of the image and of the systemd unit."""
    image = (DEPLOY / "Containerfile").read_text("utf-8")
    unit = (DEPLOY / "gavamoe.service").read_text("utf-8")
    return {
        "Containerfile": json.loads(re.search(r"^CMD (.*)$", image, re.MULTILINE)[1])[-1].removeprefix("exec "),
        "gavamoe.service": re.search(r"^ExecStart=\S+/(.*)$", unit, re.MULTILINE)[1],
    }


@pytest.mark.parametrize("file", ["Containerfile", "gavamoe.service"])
def test_the_service_is_started_with_options_that_it_has(file):
    _, command, *options = shlex.split(serve_commands()[file])
    parsed = get_command(app).commands[command].make_context(command, options)
    assert parsed.params["store"]


def test_the_dashboard_reads_metrics_that_the_service_exports():
    exported = set(re.findall(r"^# TYPE (\S+)", ServiceMetrics().expose().decode(), re.MULTILINE))
    exported |= {f"{name}_{part}" for name in exported for part in ("bucket", "sum", "count")}
    dashboard = json.loads((DEPLOY / "grafana/dashboards/gavamoe.json").read_text("utf-8"))
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    assert len(queries) > 10
    read = {name for query in queries for name in re.findall(r"\b(?:gavamoe|process)_\w+", query)}
    assert read <= exported


def test_the_example_names_each_variable_that_compose_reads():
    variables = set(re.findall(r"(?<!\$)\$\{(\w+)", (DEPLOY / "compose.yaml").read_text("utf-8")))
    example = set(re.findall(r"^(\w+)=", (DEPLOY / ".env.example").read_text("utf-8"), re.MULTILINE))
    assert variables == example


def test_no_secret_is_pasted_into_a_url():
    settings = COMPOSE["services"]["gavamoe"]["environment"]
    assert settings["GAVAMOE_STORE"] == "postgresql://gavamoe@postgres/gavamoe"
    assert settings["PGPASSWORD"].startswith("${POSTGRES_PASSWORD")


def test_the_example_counts_its_secrets():
    example = (DEPLOY / ".env.example").read_text("utf-8")
    assert example.count("=replace-me") == 3
    assert "replace the three secrets" in example


def test_each_mounted_file_exists():
    mounts = [mount for each in COMPOSE["services"].values() for mount in each.get("volumes", [])]
    sources = [mount.split(":")[0] for mount in mounts if mount.startswith("./")]
    assert sources
    assert [source for source in sources if not (DEPLOY / source).exists()] == []


def test_nginx_keeps_the_port_that_the_service_compares_with_the_origin():
    guide = (DEPLOY.parent / "docs/how-to/serve.md").read_text("utf-8")
    (block,) = re.findall(r"```nginx\n(.*?)```", guide, re.DOTALL)
    assert "proxy_set_header Host $http_host;" in block


def test_systemd_accepts_the_unit(tmp_path):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    # The unit names a program that is installed on the server only.
    unit = tmp_path / "gavamoe.service"
    text = (DEPLOY / "gavamoe.service").read_text("utf-8")
    unit.write_text(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", text, flags=re.MULTILINE))
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True)
    # What else it prints is about the machine.
    assert [line for line in done.stderr.splitlines() if "gavamoe" in line] == []
