"""Digests of parts: what comes with one request of a resumed upload is compared with that request's own bytes."""

import base64
import hashlib

from tests.wire.desk import Desk, sha256
from tests.wire.line import Answer
from tests.wire.test_resuming import CUT, DATA, PATCH, broken, rest


def content_digest(data: bytes) -> dict[str, str]:
    return {"Content-Digest": f"sha-256=:{base64.b64encode(hashlib.sha256(data).digest()).decode()}:"}


def appended(desk: Desk, path: str, second: bytes) -> Answer:
    """A file in two parts in the draft's words, each with the digest of its own content; the second may be another."""
    began = desk.ask("PUT", path, {"Upload-Complete": "?0", **content_digest(DATA[:CUT])}, body=DATA[:CUT])
    assert (began.status, began["Upload-Offset"]) == (201, str(CUT))
    headers = {**PATCH, "Upload-Offset": str(CUT), "Upload-Complete": "?1", **content_digest(DATA[CUT:])}
    return desk.ask("PATCH", path, headers, body=second)


def test_the_digest_of_a_parts_content_is_that_of_the_part(desk: Desk) -> None:
    assert appended(desk, desk.write(), DATA[CUT:]).status == 201
    path = desk.write("d/y.bin")
    md5 = {"Content-MD5": base64.b64encode(hashlib.md5(DATA[CUT:]).digest()).decode()}
    assert rest(desk, path, broken(desk, path, headers={"Waybill-Sha256": sha256(DATA)}), headers=md5).status == 201
    assert desk.content() == desk.content("d/y.bin") == DATA


def test_a_part_that_is_not_what_its_digest_says_is_not_kept(desk: Desk) -> None:
    path = desk.write()
    assert appended(desk, path, bytes(len(DATA) - CUT)).code == "parts_differ"
    assert desk.ask("HEAD", path)["Upload-Offset"] == "0"
    desk.assert_nothing_is_left()
