"""The house's rules that no linter knows, held by tests."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PRODUCT = ("adapters", "deploy", "gateway", "staging", "workers")

#: Modules of the product that have more than 300 lines, each with the reason. Over 400 there is none.
LONG = {
    "adapters/base.py": "the whole interface of an adapter, which who writes one reads in one go",
    "staging/reception.py": "one body from its first byte to the catalog, and everything that can end it on its way",
}

#: A call on ``Object.objects`` or ``Replica.objects`` that ends in one of these writes.
WRITES = {"create", "bulk_create", "get_or_create", "update_or_create", "update", "bulk_update", "delete"}


def tracked(*suffixes: str) -> list[str]:
    """The files of the tree, as git knows them and as new ones will be."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    answer = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=True, timeout=30)
    return [
        name for name in sorted(set(answer.stdout.splitlines())) if name.endswith(suffixes) and (ROOT / name).exists()
    ]


def modules(*folders: str) -> list[str]:
    """Python files, of these folders or of all; migrations are Django's."""
    found = [name for name in tracked(".py") if "/migrations/" not in name]
    return [name for name in found if name.split("/")[0] in folders] if folders else found


def tree(name: str) -> ast.Module:
    return ast.parse((ROOT / name).read_text())


def calls(name: str) -> Iterator[tuple[str, str]]:
    """Each call on an attribute, as the dotted beginning of what it is called on and the attribute."""
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            yield ast.unparse(node.func.value), node.func.attr


def imports(name: str) -> Iterator[str]:
    """What a module imports, dotted, names included."""
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_who_locks_rows_says_which_of_those_that_are_joined() -> None:
    """PostgreSQL locks all of them otherwise, in an order in which others do not."""
    chains = [(name, f"{what}.{called}") for name in modules("staging") for what, called in calls(name)]
    assert any("select_for_update(of=('self',)).select_related" in chain for _, chain in chains)
    assert not [name for name, chain in chains if "select_for_update()" in chain and "select_related" in chain]


def test_no_module_is_long_without_a_reason() -> None:
    lengths = {name: len((ROOT / name).read_text().splitlines()) for name in modules()}
    assert not [name for name, lines in lengths.items() if lines > 400]
    assert {name for name in modules(*PRODUCT) if lengths[name] > 300} == set(LONG)


def test_no_module_is_a_drawer_for_everything() -> None:
    drawers = re.compile(r"(utils?|helpers?|common|managers?|misc)")
    assert not [name for name in modules() if any(drawers.fullmatch(part) for part in Path(name).with_suffix("").parts)]


def test_every_module_says_in_its_first_line_what_it_is_for() -> None:
    filled = [name for name in modules() if (ROOT / name).read_text().strip()]
    assert not [name for name in filled if len((ast.get_docstring(tree(name)) or "").split("\n")[0]) < 15]


def test_what_the_second_run_of_the_tests_leaves_out_has_no_database_and_is_in_the_first() -> None:
    from staging.models import Project

    with pytest.raises(RuntimeError, match="Database access not allowed"):
        Project.objects.count()
    lines = (ROOT / "tests/run.sh").read_text().replace("\\\n", " ").splitlines()
    [unset] = [line for line in lines if line.startswith("unset ") and "WAYBILL_TEST_ONLY_CATALOG" in line]
    [second] = [line for line in lines if "WAYBILL_TEST_ONLY_CATALOG=" in line]
    [first] = [line for line in lines if line.startswith('"${pytest[@]}"')]
    assert lines.index(unset) < lines.index(second)
    assert second.startswith('WAYBILL_TEST_ONLY_CATALOG=yes "$python" -m tests.servers.with_postgres')
    assert "ignore" not in first
    assert "without_database" not in first


def test_only_storages_builds_adapters() -> None:
    # A credential is tried on its storages before it is kept, and nothing built for that outlives the call.
    builders = {name for name in modules("gateway", "staging", "workers") if ("registry", "build") in set(calls(name))}
    assert builders <= {"staging/storages.py"}
    drivers = re.compile(r"adapters\.(gfal|http|irods|local|memory|s3|sftp|web)")
    assert not [name for name in modules("gateway", "staging", "workers") if any(map(drivers.match, imports(name)))]


def test_only_the_catalog_writes_objects_and_replicas() -> None:
    rows = re.compile(r"(Object|Replica)\.objects\b|.*\.(replicas|contents)\b")
    writers = {
        name
        for name in modules("gateway", "staging", "workers")
        if any(attribute in WRITES and rows.match(on) for on, attribute in calls(name))
    }
    assert writers <= {f"staging/{name}.py" for name in ("catalog", "replicas", "retiring", "sharing", "versions")}


def test_only_the_queue_sends_tasks() -> None:
    sending = {"send_task", "apply_async", "delay"}
    senders = {name for name in modules("gateway", "staging", "workers") if sending & {to for _, to in calls(name)}}
    assert senders == {"staging/queue.py"}


def test_only_the_body_touches_the_servers_input() -> None:
    touching = {
        name
        for name in modules("gateway", "staging", "workers")
        if any(isinstance(node, ast.Constant) and node.value == "wsgi.input" for node in ast.walk(tree(name)))
    }
    assert touching == {"gateway/data/body.py"}


def test_adapters_know_nothing_of_each_other() -> None:
    kinds = ("gfal", "http", "irods", "local", "memory", "s3", "sftp", "webdav")
    for name in modules("adapters"):
        own = next((kind for kind in kinds if Path(name).name.startswith(kind)), None)
        others = [kind for kind in kinds if kind != own]
        if own:
            assert not [i for i in imports(name) if re.match(rf"adapters\.({'|'.join(others)})", i)], name


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_every_requirement_is_pinned_and_says_what_it_is_for(name: str) -> None:
    lines = [line for line in (ROOT / name).read_text().splitlines() if line and not line.startswith(("#", "-r "))]
    assert lines
    assert not [line for line in lines if not re.fullmatch(r"[\w.-]+(\[[\w,-]+\])?==[\w.]+  # \S.+", line)]


@pytest.mark.parametrize(
    "name", ["constraints.txt", "tests/servers/swift-requirements.txt", "tests/zoo/workflows-requirements.txt"]
)
def test_every_installed_package_is_pinned(name: str) -> None:
    lines = [line for line in (ROOT / name).read_text().splitlines() if line and not line.startswith("#")]
    assert lines
    assert not [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.]+", line)]


def test_nothing_names_somebodys_home_or_a_registrys_host() -> None:
    told = re.compile(
        r"/home/[a-z]|/root/[\w.]|/work/|pypi\.org|pythonhosted|registry\.npmjs|deb\.debian\.org|docker\.io|ghcr\.io"
    )
    for name in tracked():
        if name != "tests/test_house.py":
            text = (ROOT / name).read_bytes().decode(errors="ignore")
            assert not told.search(text), (name, told.search(text))
