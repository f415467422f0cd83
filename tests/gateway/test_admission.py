"""The proxy's question before an upload: who may ask it, what the answer holds, and what is logged of it."""

import json

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from gateway import metrics
from staging import aliases
from staging.models import Alias, Storage, Upload
from staging.states import AliasMode
from tests.place import Place


def ask(alias: Alias | None, *, address: str = "127.0.0.1", path: str | None = None, **headers: str) -> object:
    """The answer to the question whether 100 bytes may be put to the alias."""
    asked = {
        "X-Original-Method": "PUT",
        "X-Original-URI": path or f"/a/{aliases.token_of(alias)}/x.bin?y=1",
        "X-Original-Content-Length": "100",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    return Client().get("/internal/admit", headers=asked, REMOTE_ADDR=address)


def test_what_may_come_is_204_and_nothing_is_reserved(place: Place) -> None:
    answer = ask(place.alias("k", AliasMode.WRITE))
    assert (answer.status_code, answer.content) == (204, b"")
    assert not Upload.objects.exists()


def test_a_refusal_holds_the_whole_answer(place: Place) -> None:
    answer = ask(place.alias("k"))
    assert (answer.status_code, answer["Waybill-Refused-Status"]) == (403, "405")
    problem = json.loads(answer["Waybill-Problem"])
    assert (problem["status"], problem["code"], problem["retryable"]) == (405, "wrong_direction", False)
    assert problem["request_id"] == answer["X-Request-Id"]
    assert (answer["Allow"], answer["Waybill-Error-Code"], answer["Waybill-Retryable"]) == (
        *("GET, HEAD", "wrong_direction", "false"),
    )


def test_a_refusal_that_would_pass_says_when_to_come_back(place: Place) -> None:
    place.storage.state = "cordoned"
    place.storage.save()
    alias = place.alias("k", AliasMode.WRITE)
    answer = ask(alias)
    assert (answer["Waybill-Refused-Status"], answer["Waybill-Retryable"]) == ("503", "true")
    assert 1 <= int(answer["Retry-After"]) <= 300
    stream = ask(alias, X_Original_Content_Length="", X_Original_Transfer_Encoding="chunked")
    assert (stream["Waybill-Refused-Status"], stream["Waybill-Retryable"]) == ("422", "false")
    assert "Retry-After" not in stream


def test_the_words_of_a_problem_fit_into_a_header(place: Place) -> None:
    place.storage.name, place.storage.state = "Gerät\r\nSet-Cookie: x", "cordoned"
    place.storage.save()
    answer = ask(place.alias("k", AliasMode.WRITE))
    assert answer["Waybill-Problem"].isascii()
    assert "Gerät" in json.loads(answer["Waybill-Problem"])["detail"]
    assert "Set-Cookie" not in answer


@pytest.mark.parametrize(
    ("proxies", "address", "known"),
    [
        (["127.0.0.1"], "127.0.0.1", True),
        (["127.0.0.1"], "127.0.0.2", False),
        (["10.0.0.0/8", "::1"], "10.9.8.7", True),
        (["10.0.0.0/8", "::1"], "::1", True),
        (["10.0.0.0/8", "::1"], "127.0.0.1", False),
        (["*"], "192.0.2.1", True),
        ([], "127.0.0.1", False),
        (["127.0.0.1"], "", True),
    ],
)
def test_only_proxies_may_ask(place: Place, settings: Settings, proxies: list[str], address: str, known: bool) -> None:
    settings.PROXY_ADDRESSES = proxies
    asked = ask(place.alias("k", AliasMode.WRITE), address=address)
    assert asked.status_code == (204 if known else 404)


def test_each_file_below_a_prefix_is_asked_about(place: Place) -> None:
    alias = place.alias("run/1/", AliasMode.WRITE_PREFIX, max_total_bytes=100)
    token = aliases.token_of(alias)
    assert ask(None, path=f"/a/{token}/1/sub/out_0").status_code == 204
    assert ask(None, path=f"/a/{token}/1/%2e%2e/out_0")["Waybill-Refused-Status"] == "400"
    assert ask(None, path=f"/a/{token}/1/")["Waybill-Error-Code"] == "invalid_request"
    larger = ask(None, path=f"/a/{token}/1/out_0", X_Original_Content_Length="101")
    assert larger["Waybill-Error-Code"] == "too_large"
    chunked = {"X_Original_Content_Length": "", "X_Original_Transfer_Encoding": "chunked"}
    assert ask(None, path=f"/a/{token}/1/out_0", **chunked).status_code == 204
    ask(None, path=f"/a/{token}/1/out_0", **chunked, Content_Encoding="gzip")
    assert ask(None, path=f"/a/{token}/1/out_0", **chunked)["Waybill-Error-Code"] == "stream_interrupted"
    assert ask(None, path=f"/a/{token}/1/out_1", **chunked).status_code == 204


def test_an_archive_is_asked_about(place: Place) -> None:
    token = aliases.token_of(place.alias("run/1/", AliasMode.WRITE_PREFIX))
    for name in ("1.tar", "1.tar.gz", "1.zip"):
        assert ask(None, path=f"/a/{token}/{name}").status_code == 204
        assert ask(None, path=f"/a/{token}/{name}", Content_Range="bytes 1-100/101")["Waybill-Error-Code"] == (
            "wrong_offset"
        )
    assert ask(None, path=f"/a/{token}/other.tar")["Waybill-Error-Code"] == "source_missing"
    mounted = aliases.token_of(place.alias("run/1/", AliasMode.WRITE_PREFIX, mounted=True))
    assert ask(None, path=f"/a/{mounted}/1.tar")["Waybill-Error-Code"] == "invalid_request"
    Storage.objects.update(state="cordoned")
    assert ask(None, path=f"/a/{token}/1.tar")["Waybill-Refused-Status"] == "503"


def test_a_refused_question_does_not_begin_a_lifetime(place: Place) -> None:
    alias = place.alias("k", AliasMode.WRITE, lifetime_s=100, max_bytes=1, starts_on_use=True)
    assert ask(alias)["Waybill-Error-Code"] == "too_large"
    assert Alias.objects.get(pk=alias.pk).first_used_at is None


def test_an_alias_bound_to_networks_knows_the_proxys_client(place: Place) -> None:
    alias = place.alias("k", AliasMode.WRITE, networks=["192.0.2.0/24"])
    assert ask(alias, X_Forwarded_For="192.0.2.7").status_code == 204
    assert ask(alias, X_Forwarded_For="198.51.100.7")["Waybill-Refused-Status"] == "403"


def test_what_is_no_aliass_path_is_left_to_the_gateway(project: object) -> None:
    for path in ("/", "/a/", "/live/../a/x", "//a/x/y", "/api/v1/aliases"):
        assert ask(None, path=path).status_code == 204
    assert ask(None, path="/%61/" + "A" * 32 + "/x")["Waybill-Error-Code"] == "alias_unknown"


def test_a_question_takes_two_queries(place: Place) -> None:
    alias = place.alias("k", AliasMode.WRITE)
    with CaptureQueriesContext(connection) as queries:
        assert ask(alias).status_code == 204
    assert len(queries) == 2


def test_a_refused_upload_is_counted_as_the_client_sees_it(place: Place) -> None:
    counter = metrics.REQUESTS.labels("data", "PUT", "405")
    before = counter._value.get()
    ask(place.alias("k"))
    assert counter._value.get() == before + 1


def test_only_refusals_are_logged_and_no_token_is(place: Place, capfd: pytest.CaptureFixture[str]) -> None:
    write, read = place.alias("k", AliasMode.WRITE), place.alias("k")
    ask(write)
    assert "/internal/admit" not in capfd.readouterr().err
    ask(read)
    line = capfd.readouterr().err
    assert all(word in line for word in ("PUT", "/a/", "405", "wrong_direction")), line
    assert "/internal/admit" not in line
    assert aliases.token_of(read) not in line
