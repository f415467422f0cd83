"""A token is a secret: it is in no line of the gateway's log, whatever goes wrong, and in no metric."""

from adapters.errors import AccessDenied, Unavailable
from staging import aliases
from staging.models import Bucket
from tests.servers.faulty import Faults
from tests.wire.desk import KEY, Desk


def test_no_log_line_and_no_metric_holds_a_token(faulty_desk: Desk, faults: Faults) -> None:
    desk = faulty_desk
    write, read = desk.place.alias(KEY, "write"), desk.place.alias(KEY, "read")
    canaries = [aliases.token_of(write), aliases.token_of(read), "C" * 32]
    up, down, unknown = (desk.gateway.alias_path(token, "x.bin") for token in canaries)
    data = b"x" * 5_000_000

    faults.fail("open_write", AccessDenied)
    assert desk.ask("PUT", up, body=data).status == 503
    faults.fail("open_write", Unavailable)
    assert desk.ask("PUT", up, body=data).status == 502
    faults.heal()
    with desk.line() as line:  # a client that goes away
        line.begin("PUT", up, {"Content-Length": "9000000"})
        line.send(data)
    assert desk.ask("PUT", up, body=data).status == 201
    faults.fail("read", Unavailable, from_byte=2_000_000)
    with desk.line() as line:  # a source that fails in the middle
        line.begin("GET", down)
        line.wait_for_some()
    for path in (up, down, unknown):  # a proxy's question
        asked = {"X-Original-Method": "PUT", "X-Original-URI": path, "X-Original-Content-Length": "5"}
        assert desk.ask("GET", "/internal/admit", asked).status == 403
        desk.ask("GET", f"/internal/admit{path}", asked)
        desk.ask("GET", "/internal/admit", {**asked, "X Y": path})
    desk.ask("GET", unknown)
    desk.ask("GET", f"/{unknown}")
    desk.ask("GET", f"/elsewhere{down}")
    for nonsense in NONSENSE:
        with desk.line() as line:
            line.send(nonsense.replace(b"PATH", down.encode()))
            line.socket.shutdown(1)
            while line.socket.recv(1000):
                pass
    Bucket.objects.update(policy=["no policy at all"])
    crashed = desk.ask("PUT", up, body=b"x")
    assert (crashed.status, crashed.code) == (500, "internal_error")

    log = desk.gateway.log.read_text()
    assert "request.crashed" in log
    assert crashed["X-Request-Id"] in log
    assert "<token>" in log, "the server's own lines were not provoked"
    seen = log + desk.ask("GET", "/metrics").body.decode()
    assert [canary for canary in canaries if canary in seen] == []


NONSENSE = [
    b"GET PATH HTTP/1.1 and more\r\n\r\n",
    b"GET PATH HTTP/9.9\r\nHost: x\r\n\r\n",
    b"get PATH HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET PATH HTTP/1.1\r\nHost: x\r\nbad header\r\n\r\n",
    b"GET PATH HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"GET PATH" + b"?" + b"x" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
]
