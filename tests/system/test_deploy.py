"""The files of deploy/ are what the programs that read them accept, and fit each other and the code."""

import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.fernet import Fernet

from gateway import env
from tests.servers.gateway import ROOT
from tests.servers.process import find_program

DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))


def compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return document


def known_settings() -> set[str]:
    """Every setting that the code or a gunicorn configuration reads."""
    texts = [path.read_text() for path in DEPLOY.glob("gunicorn_*.py")]
    return set(env.DECLARED) | {name for text in texts for name in re.findall(r'environ\.get\("(\w+)"\)', text)}


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_accepts_the_unit(unit: Path, tmp_path: Path) -> None:
    """With programs and folders that exist here; everything else is as shipped."""
    program = find_program("systemd-analyze", package="systemd")
    text = unit.read_text().replace("/opt/waybill/.venv/bin/python", sys.executable).replace("/opt/waybill", str(ROOT))
    copy = tmp_path / unit.name
    copy.write_text(text)
    answer = subprocess.run([program, "verify", copy], text=True, capture_output=True, timeout=60, check=False)
    assert (answer.returncode, answer.stderr) == (0, "")


@pytest.mark.parametrize("role", ["control", "data", "embedded"])
def test_gunicorn_accepts_the_configuration(role: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "gunicorn", "--check-config", "-c", str(DEPLOY / f"gunicorn_{role}.py")]
    environment = {"PATH": os.environ["PATH"], "DATA_DIR": str(tmp_path), "WAYBILL_WORKERS": "1"}
    answer = subprocess.run(
        [*command, "gateway.wsgi:application"], cwd=ROOT, env=environment, text=True, capture_output=True, timeout=60
    )
    assert answer.returncode == 0, answer.stderr


def test_the_data_role_takes_as_many_threads_as_the_gateway_counts_on(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("", "100"):
        monkeypatch.setenv("WAYBILL_THREADS", value)
        config = runpy.run_path(str(DEPLOY / "gunicorn_data.py"))
        assert config["threads"] == int(value or env.DECLARED["WAYBILL_THREADS"].default)


def test_the_control_role_with_its_few_threads_holds_no_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAYBILL_MAX_WAITERS", "5")
    runpy.run_path(str(DEPLOY / "gunicorn_control.py"))
    assert os.environ["WAYBILL_MAX_WAITERS"] == "0"


def test_units_and_containers_set_only_settings_that_exist() -> None:
    lines = [line for file in [*UNITS, DEPLOY / "systemd" / "waybill.env"] for line in file.read_text().splitlines()]
    names = {name for line in lines if not line.startswith("#") for name in re.findall(r"\b([A-Z][A-Z_]+)=", line)}
    names |= {name for service in compose()["services"].values() for name in service.get("environment", {})}
    assert names - known_settings() <= {"POSTGRES_USER", "POSTGRES_DB", "POSTGRES_PASSWORD_FILE"}


def test_the_compose_file_is_complete_in_itself() -> None:
    document = compose()
    services = document["services"]
    for name, service in services.items():
        assert set(service.get("depends_on", [])) <= set(services), name
        assert set(service.get("secrets", [])) <= set(document["secrets"]), name
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source in document["volumes"] or (DEPLOY / source).exists(), (name, source)
    upstreams = (DEPLOY / "compose-upstreams.conf").read_text()
    for host, port in re.findall(r"server ([\w-]+):(\d+);", upstreams):
        assert services[host]["environment"].get("PORT", "8080") == port
    for copied in re.findall(r"^COPY (.+) \S+$", (DEPLOY / "Containerfile").read_text(), re.MULTILINE):
        assert all((ROOT / source).exists() for source in copied.split()), copied


def test_docker_accepts_the_compose_file() -> None:
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True).returncode:
        pytest.skip("docker compose is not installed; Debian 12 has no package of it")
    subprocess.run([docker, "compose", "-f", DEPLOY / "compose.yaml", "config", "--quiet"], check=True)


def test_the_compose_secrets_are_made_once_and_fit_each_other(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    command = ["sh", str(DEPLOY / "compose-secrets.sh"), str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    made = {file.name: file.read_text() for file in folder.iterdir()}
    assert made.keys() == compose()["secrets"].keys()
    Fernet(made["secret_keys"])
    assert made["database_url"] == f"postgres://waybill:{made['postgres_password']}@postgres/waybill"
    subprocess.run(command, check=True, capture_output=True)
    assert made == {file.name: file.read_text() for file in folder.iterdir()}
