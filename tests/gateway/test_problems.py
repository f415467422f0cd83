"""Every error has a status, prints, and tells curl and people the same."""

import inspect
import json
from collections.abc import Iterator

import pytest
from django.db import InterfaceError, OperationalError

from adapters import errors as storage_errors
from adapters.errors import AdapterError, NotTried, TransientAdapterError
from gateway import problems, refusals
from staging import errors
from staging.errors import StagingError

#: What the constructors need besides a sentence.
NEEDED: dict[type[StagingError], dict[str, object]] = {
    errors.WrongDirection: {"allowed": ("GET", "HEAD")},
    errors.WrongOffset: {"offset": 7, "complete": False},
}


BASES = (StagingError, AdapterError, TransientAdapterError, NotTried)


def kinds() -> Iterator[type[Exception]]:
    for module in (errors, refusals, storage_errors):
        for _, kind in inspect.getmembers(module, inspect.isclass):
            if kind.__module__ == module.__name__ and kind not in BASES:
                yield kind


def made(kind: type[Exception]) -> StagingError | AdapterError:
    if issubclass(kind, AdapterError):
        return kind("a detail for operators", storage="far", key="d/x")
    if kind is refusals.RangeUnsatisfiable:
        return refusals.RangeUnsatisfiable(10)
    assert issubclass(kind, StagingError)
    return kind("a sentence", **NEEDED.get(kind, {}))


ALL = pytest.mark.parametrize("kind", list(kinds()), ids=lambda kind: f"{kind.__module__}.{kind.__name__}")


@ALL
def test_an_error_has_a_status_of_its_own_and_prints(kind: type[Exception]) -> None:
    assert kind in problems._STATUS
    exc = made(kind)
    assert str(exc)
    problem = problems.of(exc)
    assert problem.status == problems._STATUS[kind]
    assert problem.code not in ("", "internal_error", "staging_error", "adapter_error")
    assert problem.detail.endswith((".", ")")) or problem.detail == "a sentence"


@ALL
def test_body_and_headers_of_an_answer_say_the_same(kind: type[Exception]) -> None:
    answer = problems.respond(problems.of(made(kind)))
    document = json.loads(answer.content)
    assert document["status"] == answer.status_code
    assert document["code"] == answer["Waybill-Error-Code"]
    assert str(document["retryable"]).lower() == answer["Waybill-Retryable"]
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.has_header("Retry-After") == (answer.status_code in (429, 503))


@ALL
def test_a_status_that_curl_retries_is_a_fault_that_may_pass_and_the_other_way_round(kind: type[Exception]) -> None:
    problem = problems.of(made(kind))
    if kind is not errors.BodyIncomplete:  # 400 is the contract's word
        assert problem.retryable == (problem.status in problems.CURL_RETRIES)


def test_what_a_storage_did_is_never_500_and_its_detail_stays_with_the_operators() -> None:
    for exc in (AdapterError("sftp://secret@host", storage="far"), TransientAdapterError("x", storage="far")):
        problem = problems.of(exc)
        assert problem.status == 502
        assert "far" in problem.detail
        assert "secret" not in json.dumps(problem.body())


def test_a_subclass_has_the_status_of_its_parent() -> None:
    class Stranger(errors.TooLarge):
        """A later one."""

    assert problems.of(Stranger("x")).status == 413


@pytest.mark.parametrize("kind", [OperationalError, InterfaceError])
def test_a_catalog_that_does_not_answer_is_503(kind: type[Exception]) -> None:
    problem = problems.of(kind("could not connect to 10.0.0.1"))
    assert (problem.status, problem.code, problem.retryable) == (503, "catalog_unavailable", True)
    assert "10.0.0.1" not in json.dumps(problem.body())


def test_an_error_nobody_planned_for_is_500_without_its_words() -> None:
    problem = problems.of(RuntimeError("secret"))
    assert (problem.status, problem.code, problem.retryable) == (500, "internal_error", True)
    assert "secret" not in json.dumps(problem.body())


def test_waits_are_whole_seconds_within_the_contracts_bounds_and_jittered() -> None:
    waits = {problems._retry_after(asked) for asked in (None, 1, 60, 10_000) for _ in range(200)}
    assert min(waits) >= 1
    assert max(waits) <= 300
    assert len(waits) > 20


def test_codes_name_one_thing_each() -> None:
    domain = [kind for kind in kinds() if issubclass(kind, StagingError)]
    codes = [kind.code for kind in domain]
    assert len(set(codes)) == len(codes)
