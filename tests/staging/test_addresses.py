"""Addresses: a URI lies on the storage with the longest root that covers it, or nowhere."""

import pytest

from staging import addresses
from staging.errors import AddressRefused, InvalidRequest
from staging.models import Storage


def sftp(name: str, root: str, *, host: str = "data.example.org", port: int = 22) -> Storage:
    options = {"host": host, "port": port, "username": "u", "root": root, "host_key_fingerprint": "SHA256:" + "A" * 43}
    return Storage(name=name, scheme="sftp", options=options)


FAR, DEEP = sftp("far", "/srv"), sftp("deep", "/srv/deep")
ODD, LOCAL = sftp("odd", "/srv", port=2222), Storage(name="disk", scheme="local", options={"root": "/var/data"})
WEB = Storage(name="web", scheme="webdav", options={"url": "https://dav.example.org/a%20b/"})
PLAIN = Storage(name="plain", scheme="http", options={"url": "http://files.example.org:80"})
ZONE = Storage(name="zone", scheme="irods", options={"host": "data.example.org", "root": "/zone/home/u"})
ALL = [FAR, DEEP, ODD, LOCAL, WEB, PLAIN, ZONE]


@pytest.mark.parametrize(
    ("uri", "storage", "key"),
    [
        ("sftp://data.example.org/srv/x", FAR, "x"),
        ("SFTP://DATA.example.org:22/srv/a/b.txt", FAR, "a/b.txt"),
        ("sftp://data.example.org/srv/deeper/x", FAR, "deeper/x"),
        ("sftp://data.example.org/srv/deep/x", DEEP, "x"),
        ("sftp://data.example.org:2222/srv/x", ODD, "x"),
        ("sftp://data.example.org/srv/a%20b%25.txt", FAR, "a b%.txt"),
        ("sftp://data.example.org/srv/%C3%A4", FAR, "ä"),
        ("file:///var/data/x", LOCAL, "x"),
        ("https://dav.example.org/a%20b/c/d%23", WEB, "c/d#"),
        ("HTTPS://DAV.example.org:443/a%20b/x", WEB, "x"),
        ("http://files.example.org/x/y", PLAIN, "x/y"),
        ("irods://data.example.org/zone/home/u/a%20b", ZONE, "a b"),
        ("irods://data.example.org:1247/zone/home/u/d/x", ZONE, "d/x"),
    ],
)
def test_a_uri_is_found_on_the_longest_root(uri: str, storage: Storage, key: str) -> None:
    assert addresses.locate(ALL, uri) == (storage, key)


@pytest.mark.parametrize(
    "uri",
    [
        "sftp://other.example.org/srv/x",
        "sftp://data.example.org:2223/srv/x",
        "sftp://data.example.org/etc/passwd",
        "sftp://data.example.org/srvx",
        "s3://data.example.org/srv/x",
        "http://169.254.169.254/srv/x",
        "http://dav.example.org/a%20b/x",
        "https://dav.example.org:80/a%20b/x",
        "https://dav.example.org/a%20bc",
        "webdav://dav.example.org/a%20b/x",
        "https://files.example.org/x",
        "file:///etc/passwd",
        "/srv/x",
        "",
    ],
)
def test_an_address_that_no_storage_covers_is_refused(uri: str) -> None:
    with pytest.raises(AddressRefused):
        addresses.locate(ALL, uri)


@pytest.mark.parametrize(
    "uri",
    [
        "sftp://data.example.org/srv/",
        "sftp://data.example.org/srv/../etc/passwd",
        "sftp://data.example.org/srv/a/%2e%2e/%2e%2e/etc/passwd",
        "sftp://data.example.org/srv/a%2f..%2f..%2fetc",
        "sftp://data.example.org/srv//x",
        "sftp://data.example.org/srv/%00",
        "sftp://data.example.org/srv/%ff",
        "sftp://u:secret@data.example.org/srv/x",
        "sftp://data.example.org/srv/x?y",
        "sftp://data.example.org/srv/x#y",
        "sftp://data.example.org:port/srv/x",
        "sftp://[data/srv/x",
        "sftp://data.example.org/srv/a\nb",
    ],
)
def test_what_is_no_address_of_an_object_is_invalid_and_quotes_no_secret(uri: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        addresses.locate(ALL, uri)
    assert "secret" not in f"{refused.value} {refused.value.fields}"


def test_an_address_that_two_storages_cover_equally_names_their_buckets() -> None:
    with pytest.raises(InvalidRequest, match="~far, ~twin"):
        addresses.locate([FAR, sftp("twin", "/srv")], "sftp://data.example.org/srv/x")
