"""Snakemake and cwltool run a workflow of two steps whose inputs are aliases: one sorts a table, one cuts a column.

The first step's result goes to the gateway by curl and comes back to the second through an alias of its own. Neither
engine looks at the status of a download, so a refusal is broken off for them, and each step compares what it was given
with the alias's digest, as docs/clients.md says.
"""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from adapters.errors import Unavailable
from tests.servers.faulty import Faults
from tests.servers.process import find_program
from tests.wire.desk import Desk
from tests.zoo.files import assert_stored
from tests.zoo.programs import Ended, start
from tests.zoo.workflows import engine

INPUT, MIDDLE, RESULT = "d/table 1.csv", "d/sorted+1.csv", "d/column%25.csv"


@cache
def table() -> bytes:
    """The input; it takes a while to be made, and only by who runs these tests."""
    rows = random.Random(11)
    return b"".join(b"%06d,%d\n" % (rows.randrange(1_000_000), row) for row in range(200_000))


@cache
def in_order() -> bytes:
    return b"".join(sorted(table().splitlines(keepends=True)))


@cache
def column() -> bytes:
    return b"".join(line.split(b",")[1] for line in in_order().splitlines(keepends=True))


#: A step, as any engine runs it: FILE is what came from ALIAS, what is computed goes to OUT.
STEP = """\
set -e
file=$1 alias=$2 out=$3
digest=$(curl -fsS "$alias.sha256")
echo "${digest%% *}  $file" | sha256sum -c - >&2
COMMAND "$file" > result
curl -fsS -T result "$out"
"""
COMMANDS = {"sort.sh": "LC_ALL=C sort", "cut.sh": "cut -d , -f 2"}

SNAKEFILE = """\
rule all:
    input: "cut.stored"

checkpoint sort:
    input: storage.http(config["input"])
    output: "sort.stored"
    params: alias=config["input"], out=config["middle_out"]
    shell: "sh ../sort.sh {input:q} {params.alias:q} {params.out:q} > {output}"

def middle(wildcards):
    checkpoints.sort.get()
    return storage.http(config["middle_in"])

rule cut:
    input: middle
    output: "cut.stored"
    params: alias=config["middle_in"], out=config["output"]
    shell: "sh ../cut.sh {input:q} {params.alias:q} {params.out:q} > {output}"
"""

#: ``after`` makes a step wait for another one's answer.
CWL_TOOL = """\
cwlVersion: v1.2
class: CommandLineTool
baseCommand: sh
inputs:
  script: {type: File, inputBinding: {position: 1}}
  file: {type: File, inputBinding: {position: 2}}
  alias: {type: string, inputBinding: {position: 3}}
  out: {type: string, inputBinding: {position: 4}}
  after: File?
outputs:
  stored: stdout
stdout: stored
"""
CWL_WORKFLOW = """\
cwlVersion: v1.2
class: Workflow
inputs:
  {sort_script: File, cut_script: File, table: File, middle: File,
   input: string, middle_out: string, middle_in: string, output: string}
outputs:
  stored: {type: File, outputSource: cut/stored}
steps:
  sort:
    run: tool.cwl
    in: {script: sort_script, file: table, alias: input, out: middle_out}
    out: [stored]
  cut:
    run: tool.cwl
    in: {script: cut_script, file: middle, alias: middle_in, out: output, after: sort/stored}
    out: [stored]
"""


@dataclass
class Workflow:
    """The workflow's aliases and the folder it runs in."""

    desk: Desk
    folder: Path
    input: str
    middle_out: str
    middle_in: str
    output: str

    def urls(self) -> dict[str, str]:
        """Each alias by its name."""
        return {name: self.desk.url(getattr(self, name)) for name in ("input", "middle_out", "middle_in", "output")}

    def break_the_input(self) -> None:
        """Its bytes vanish from the storage: HEAD still answers 200, GET 502."""
        [name] = self.desk.place.files()
        (self.desk.place.root / name).unlink()
        assert self.desk.ask("HEAD", self.input).status == 200
        assert self.desk.ask("GET", self.input).status == 502


Engine = Callable[[Workflow], Ended]


def new_workflow(desk: Desk, folder: Path) -> Workflow:
    """Its input is stored; the rest is to come."""
    find_program("curl", package="curl")
    for name, command in COMMANDS.items():
        (folder / name).write_text(STEP.replace("COMMAND", command))
    read = desk.stored(table(), INPUT)
    return Workflow(desk, folder, read, desk.write(MIDDLE), desk.read(MIDDLE), desk.write(RESULT))


@pytest.fixture
def workflow(desk: Desk, tmp_path: Path) -> Workflow:
    return new_workflow(desk, tmp_path)


def snakemake(workflow: Workflow) -> Ended:
    """Run the workflow with Snakemake."""
    folder = workflow.folder / "snakemake"
    folder.mkdir()
    (folder / "Snakefile").write_text(SNAKEFILE)
    (folder / "config.json").write_text(json.dumps(workflow.urls()))
    return start([engine("snakemake"), "--cores", "1", "--configfile", "config.json"], folder=folder)


def cwltool(workflow: Workflow) -> Ended:
    """Run the workflow with cwltool."""
    folder = workflow.folder / "cwltool"
    folder.mkdir()
    urls = workflow.urls()
    files = {
        "table": urls["input"],
        "middle": urls["middle_in"],
        "sort_script": (workflow.folder / "sort.sh").as_uri(),
        "cut_script": (workflow.folder / "cut.sh").as_uri(),
    }
    job = {**urls, **{name: {"class": "File", "location": url} for name, url in files.items()}}
    (folder / "tool.cwl").write_text(CWL_TOOL)
    (folder / "workflow.cwl").write_text(CWL_WORKFLOW)
    (folder / "job.json").write_text(json.dumps(job))
    # Without --relax-path-checks it refuses names with a space or a percent sign.
    options = ("--no-container", "--relax-path-checks")
    return start([engine("cwltool"), *options, "workflow.cwl", "job.json"], folder=folder)


@pytest.mark.parametrize("run", [snakemake, cwltool])
def test_two_steps_over_aliases(workflow: Workflow, run: Engine) -> None:
    ended = run(workflow)
    assert ended.exit == 0, ended.errors
    assert_stored(workflow.desk, MIDDLE, in_order())
    assert_stored(workflow.desk, RESULT, column())


@pytest.mark.parametrize("run", [snakemake, cwltool])
def test_a_refusal_is_no_input_of_a_step(workflow: Workflow, run: Engine) -> None:
    workflow.break_the_input()
    ended = run(workflow)
    assert ended.exit != 0
    assert "did NOT match" not in ended.errors, "the engine has seen it before the step did"
    assert workflow.desk.current(MIDDLE) is None


@pytest.mark.parametrize("run", [snakemake, cwltool])
def test_a_read_that_breaks_off_ends_the_step(faulty_desk: Desk, faults: Faults, tmp_path: Path, run: Engine) -> None:
    workflow = new_workflow(faulty_desk, tmp_path)
    faults.fail("read", Unavailable, from_byte=1_000_000)
    ended = run(workflow)
    assert ended.exit != 0
    assert "did NOT match" not in ended.errors  # the engine has seen it before the step did
    assert faulty_desk.current(MIDDLE) is None


def test_snakemake_misses_an_input_that_is_not_there_yet(workflow: Workflow) -> None:
    workflow.input = f"{workflow.desk.read('d/never written')}?wait=0"
    ended = snakemake(workflow)
    assert ended.exit != 0
    assert "Missing input files" in ended.errors
