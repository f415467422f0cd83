"""The documentation is true: its commands run as written, and its tables list what the code has."""

import re
import subprocess
from pathlib import Path

import pytest
from django.conf import settings
from prometheus_client.metrics import MetricWrapperBase

from adapters import errors as storage_errors
from gateway import env, metrics, problems, refusals
from staging import errors, projects
from staging.api_keys import issue_key
from staging.states import Role
from tests.servers.gateway import ROOT, Gateway
from tests.servers.process import find_program
from tests.servers.sshd import Sshd

DOCS = ROOT / "docs"
BLOCK = re.compile(r"^```(sh|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
#: What a page's commands need besides curl, and the Debian packages that have it.
PROGRAMS = {"docs/clients.md": {"wget": "wget", "aria2c": "aria2", "rclone": "rclone"}}
MARK = "-- the block ends --"

#: What Waybill answers without an error class of its own: code, status, and whether trying again may help.
PLAIN = {
    ("catalog_unavailable", "503", "yes"),
    ("internal_error", "500", "yes"),
    ("gateway_unavailable", "503", "yes"),
    ("not_authenticated", "401", "no"),
    ("authentication_failed", "401", "no"),
    ("permission_denied", "403", "no"),
    ("method_not_allowed", "405", "no"),
    ("not_acceptable", "406", "no"),
    ("unsupported_media_type", "415", "no"),
    ("parse_error", "400", "no"),
}


def blocks(page: Path) -> list[tuple[str, str | None]]:
    """The commands of a page, each with what it prints where the page says so; ``…`` stands for anything."""
    found: list[tuple[str, str | None]] = []
    for kind, text in BLOCK.findall(page.read_text()):
        if kind == "sh":
            found.append((text, None))
        else:
            assert found, f"{page.name} begins with an output"
            found[-1] = (found[-1][0], text)
    return found


def rows(page: str) -> list[list[str]]:
    """The cells of all table rows that begin with a name in backticks."""
    lines = [line for line in (DOCS / page).read_text().splitlines() if line.startswith("| `")]
    return [[cell.strip().strip("`") for cell in line.strip("|").split(" | ")] for line in lines]


PAGES = ["README.md", *(f"docs/{name}.md" for name in ("quickstart", "http", "api", "clients", "stage"))]


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_the_page_does_what_the_page_says(
    page: str, gateway: Gateway, transactional_db: None, tmp_path: Path
) -> None:
    for name, package in {"curl": "curl", **PROGRAMS.get(page, {})}.items():
        find_program(name, package=package)
    _, key = issue_key(projects.first_project(), Role.ADMIN, label="docs")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "quickstart.env").write_text(f"WAYBILL_URL={gateway.url}\nWAYBILL_KEY={key}\n")
    wanted = blocks(ROOT / page)
    script = "".join(f"{commands}\necho '{MARK}'\n" for commands, _ in wanted)
    with Sshd(tmp_path / "sshd") as server:
        server_of_the_page = {
            "SFTP_HOST": server.host,
            "SFTP_PORT": str(server.port),
            "SFTP_USER": server.user,
            "SFTP_ROOT": str(server.root),
            "SFTP_HOST_KEY": server.host_key,
            "SFTP_KEY_FILE": str(server.key_file),
        }
        answer = subprocess.run(
            ["bash", "-eu", "-o", "pipefail", "-c", script],
            cwd=tmp_path,
            env={"PATH": "/usr/local/bin:/usr/bin:/bin", **server_of_the_page},
            text=True,
            capture_output=True,
            timeout=240,
        )
    printed = answer.stdout.split(f"{MARK}\n")
    for (commands, output), text in zip(wanted, printed, strict=False):
        if output is not None:
            pattern = re.escape(output.strip()).replace("…", ".*?")
            assert re.fullmatch(pattern, text.strip(), re.DOTALL), f"{commands}printed\n{text}{answer.stderr}"
    assert answer.returncode == 0, answer.stderr
    assert len(printed) == len(wanted) + 1


def test_every_setting_is_documented_with_its_default() -> None:
    read = "".join(path.read_text() for path in (ROOT / "deploy").glob("gunicorn_*.py"))
    names = set(env.DECLARED) | set(re.findall(r'environ\.get\("(\w+)"\)', read))
    documented = {row[0]: row[1] for row in rows("settings.md")}
    assert documented.keys() == names
    data_dir = str(settings.DATA_DIR)
    for name, setting in env.DECLARED.items():
        if data_dir not in setting.default and str(ROOT) not in setting.default:
            assert documented[name] == setting.default, name


def test_every_error_code_is_documented_with_its_status() -> None:
    known = set(PLAIN)
    for module, base in ((errors, errors.StagingError), (refusals, errors.StagingError)):
        for kind in vars(module).values():
            if (
                isinstance(kind, type)
                and issubclass(kind, base)
                and kind is not base
                and kind.__module__ == module.__name__
            ):
                known.add((kind.code, str(problems._STATUS[kind]), "yes" if kind.transient else "no"))
    for kind in vars(storage_errors).values():
        if isinstance(kind, type) and issubclass(kind, storage_errors.AdapterError) and kind in problems._STATUS:
            problem = problems.of(kind("", storage="s"))
            known.add((problem.code, str(problem.status), "yes" if problem.retryable else "no"))
    assert {tuple(row[:3]) for row in rows("errors.md")} == known


def test_every_metric_is_documented_with_its_labels() -> None:
    known = {}
    for value in vars(metrics).values():
        if isinstance(value, MetricWrapperBase):
            [family] = value.collect()
            suffix = "_total" if family.type == "counter" else ""
            known[family.name + suffix] = ", ".join(value._labelnames)
    assert {row[0]: row[1] for row in rows("metrics.md")} == known


def test_every_link_between_pages_leads_somewhere() -> None:
    pages = [ROOT / "README.md", ROOT / "CHANGELOG.md", *DOCS.rglob("*.md")]
    for page in pages:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"
