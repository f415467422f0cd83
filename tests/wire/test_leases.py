"""Leases: lifetimes that begin with the first use, idle limits, whole deliveries, rates, and clients' networks."""

import threading
import time
from datetime import timedelta

import pytest
from django.utils import timezone

from staging import aliases
from staging.models import Alias
from tests.servers.process import wait_until
from tests.wire.desk import KEY, Desk
from tests.wire.line import LineCut

DATA = bytes(range(256)) * 20_000  # 5 MB
LARGE = 64 * 1024 * 1024


def only(desk: Desk) -> Alias:
    return Alias.objects.filter(mode="read").latest("created_at")


def age(alias: Alias, seconds: float, *columns: str) -> None:
    """Let the alias be older than it is."""
    past = timedelta(seconds=seconds)
    moved = {name: getattr(alias, name) - past for name in columns}
    Alias.objects.filter(pk=alias.pk).update(**moved)


def test_a_lifetime_may_begin_with_the_first_use(desk: Desk) -> None:
    desk.stored(DATA)
    path = desk.read(lifetime_s=100, starts_on_use=True)
    alias = only(desk)
    assert alias.expires_at > timezone.now() + timedelta(days=80)
    assert desk.ask("GET", path).status == 200
    used = only(desk)
    assert used.first_used_at is not None
    assert used.expires_at - used.first_used_at == timedelta(seconds=100)
    assert desk.ask("GET", path).status == 200
    assert only(desk).expires_at == used.expires_at, "only the first use begins it"
    age(used, 101, "expires_at")
    assert desk.ask("GET", path).code == "alias_expired"


def test_a_refused_request_does_not_begin_a_lifetime(desk: Desk) -> None:
    path = desk.read(lifetime_s=100, starts_on_use=True)
    assert desk.ask("PUT", path, body=b"").status == 405
    assert only(desk).first_used_at is None


def test_an_alias_ends_when_it_is_not_used_for_so_long(desk: Desk) -> None:
    desk.stored(DATA)
    path = desk.read(idle_s=3600)
    assert only(desk).idle_until is None, "a queue may be long: the limit counts from the first use"
    assert desk.ask("GET", path).status == 200
    alias = only(desk)
    assert aliases.ends_at(alias) == alias.idle_until
    age(alias, 3000, "idle_until")
    assert desk.ask("HEAD", path).status == 200
    age(only(desk), 3601, "idle_until")
    gone = desk.ask("GET", path)
    assert (gone.status, gone.code) == (410, "alias_expired")
    assert aliases.state_of(only(desk)) == "expired"
    aliases.extend(only(desk), 60)
    assert desk.ask("GET", path).status == 200


def test_segments_that_bring_all_bytes_are_one_use(desk: Desk) -> None:
    desk.stored(DATA)
    path, step = desk.read(max_uses=1), len(DATA) // 16
    with desk.line() as line:
        for start in range(0, len(DATA), step):
            stop = min(start + step, len(DATA))
            assert line.ask("GET", path, {"Range": f"bytes={start}-{stop - 1}"}).body == DATA[start:stop]
    wait_until(lambda: only(desk).uses == 1, what="the delivery is counted")
    assert desk.ask("GET", path).code == "alias_used_up"
    again = desk.ask("GET", path, {"Range": f"bytes={step}-{2 * step - 1}"})
    assert again.status == 206, "clients ask for some segments twice"
    Alias.objects.update(last_used_at=timezone.now() - timedelta(seconds=aliases.GRACE_S + 1))
    assert desk.ask("GET", path, {"Range": f"bytes={step}-{2 * step - 1}"}).code == "alias_used_up"


def test_a_download_that_was_resumed_is_one_use(desk: Desk) -> None:
    desk.stored(bytes(LARGE))
    path = desk.read(max_uses=1)
    for phase in range(4):  # Wherever in a piece the line breaks, what came is counted to the byte.
        Alias.objects.update(delivered=[])
        received = -1000  # The head comes first.
        with desk.line(receive_buffer=65536) as line:
            line.begin("GET", path)
            while received < 2_000_000 + phase * 2**18:
                received += len(line.socket.recv(65536))
        wait_until(lambda: only(desk).delivered != [], what="the beginning is noted")
        (beginning,) = only(desk).delivered
        assert beginning[0] == 0
        assert beginning[1] >= received
    assert only(desk).uses == 0
    assert desk.ask("GET", path, {"Range": f"bytes={beginning[1]}-"}).status == 206
    wait_until(lambda: only(desk).uses == 1, what="the delivery is counted")
    assert desk.ask("GET", path).status == 410


def test_downloads_that_never_come_to_their_end_are_free(desk: Desk) -> None:
    desk.stored(bytes(LARGE))
    path = desk.read(max_uses=1)
    for _ in range(3):
        with desk.line(receive_buffer=4096) as line:
            line.begin("GET", path)
            line.wait_for_some()
    assert desk.ask("HEAD", path).status == 200
    assert desk.ask("GET", path, {"Range": "bytes=0-0"}).status == 206
    assert desk.ask("GET", path).status == 200
    wait_until(lambda: only(desk).uses == 1, what="the delivery is counted")


def test_what_the_client_did_not_receive_is_no_delivery(desk: Desk) -> None:
    """All bytes fit into the buffers of the connection, and the client resets it before it reads them."""
    desk.stored(DATA[:200_000])
    path = desk.read(max_uses=1)
    for _ in range(3):
        with desk.line(receive_buffer=2048) as line:
            line.begin("GET", path)
            line.wait_for_some()
    assert desk.ask("GET", path).body == DATA[:200_000]
    wait_until(lambda: only(desk).uses == 1, what="the delivery is counted")


def test_an_empty_object_is_delivered_too(desk: Desk) -> None:
    desk.stored(b"")
    path = desk.read(max_uses=1)
    assert desk.ask("GET", path).status == 200
    wait_until(lambda: only(desk).uses == 1, what="the delivery is counted")


@pytest.mark.parametrize("direction", ["down", "up"])
def test_a_rate_is_kept_to_and_the_bytes_are_right(desk: Desk, direction: str) -> None:
    data, rate = DATA[:600_000], 400_000
    began = time.monotonic()
    if direction == "down":
        desk.stored(data)
        assert desk.ask("GET", desk.read(max_rate=rate)).body == data
    else:
        assert desk.ask("PUT", desk.write(max_rate=rate), body=data).status == 201
        assert desk.content() == data
    assert time.monotonic() - began > len(data) / rate * 0.9


def test_two_requests_of_one_alias_share_its_rate(desk: Desk) -> None:
    data, rate = DATA[:300_000], 400_000
    desk.stored(data)
    path, began = desk.read(max_rate=rate), time.monotonic()
    threads = [threading.Thread(target=desk.ask, args=("GET", path)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() - began > 2 * len(data) / rate * 0.9


def test_more_streams_than_an_alias_allows_are_told_to_come_back(desk: Desk) -> None:
    desk.stored(bytes(LARGE))
    path = desk.read(max_requests=1)
    with desk.line(receive_buffer=4096) as line:
        line.begin("GET", path)
        line.wait_for_some()
        busy = desk.ask("GET", path)
        assert (busy.status, busy.code, busy["Waybill-Retryable"]) == (429, "alias_busy", "true")
        assert 1 <= int(busy["Retry-After"]) <= 300
        assert desk.ask("HEAD", path).status == 200
        assert desk.ask("GET", desk.read()).status == 200, "another alias is not concerned"
    wait_until(lambda: desk.ask("GET", path, {"Range": "bytes=0-0"}).status == 206, what="the stream has ended")


@pytest.mark.parametrize(
    ("networks", "forwarded", "status"),
    [
        (["127.0.0.0/8"], "", 200),
        (["10.0.0.0/8"], "", 403),
        (["10.0.0.0/8", "192.0.2.7/32"], "192.0.2.7", 200),
        (["10.0.0.0/8"], "192.0.2.7", 403),
        (["10.0.0.0/8"], "10.1.1.1, 192.0.2.7", 403),
        (["2001:db8::/32"], "2001:db8::1", 200),
        (["10.0.0.0/8"], "::ffff:10.2.3.4", 200),
        (["127.0.0.0/8"], "nonsense", 403),
    ],
)
def test_an_alias_may_be_bound_to_its_clients_networks(
    desk: Desk, networks: list[str], forwarded: str, status: int
) -> None:
    desk.stored(b"x")
    headers = {"X-Forwarded-For": forwarded} if forwarded else {}
    answer = desk.ask("GET", desk.read(networks=networks), headers)
    assert answer.status == status
    assert answer.code == ("" if status == 200 else "wrong_network")


def test_a_cut_download_is_never_ended_politely_by_its_pace(desk: Desk) -> None:
    desk.stored(DATA[:2_500_000])  # The first block goes out when all of it was compared.
    path = desk.read(max_rate=1_000_000)
    with desk.line() as line:
        line.begin("GET", path)
        line.wait_for_some()
        for stored in desk.place.files():
            (desk.place.root / stored).write_bytes(b"cut")
        with pytest.raises(LineCut):
            line.answer()
    assert desk.versions(KEY) == 1
