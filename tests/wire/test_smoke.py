"""The shortest way through the whole: a file up and down with the real curl."""

import subprocess
from pathlib import Path

from staging import aliases
from staging.states import AliasMode
from tests.conftest import Place
from tests.servers.gateway import Gateway


def test_a_file_comes_back_as_it_was_sent(gateway: Gateway, place: Place, tmp_path: Path) -> None:
    sent, received = tmp_path / "sent", tmp_path / "received"
    sent.write_bytes(b"\x00waybill\n" * 400_000)
    up, down = place.alias("d/x.bin", AliasMode.WRITE), place.alias("d/x.bin")
    url = gateway.url + gateway.alias_path(aliases.token_of(up), "x.bin")
    subprocess.run(["curl", "-fsS", "-T", str(sent), url], check=True, timeout=30)
    url = gateway.url + gateway.alias_path(aliases.token_of(down), "x.bin")
    subprocess.run(["curl", "-fsS", "-o", str(received), url], check=True, timeout=30)
    assert received.read_bytes() == sent.read_bytes()
