"""Those storages of the grid whose servers bring credentials of their own kind: S3, GridFTP and iRODS."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tests.bench.grid.loads import Job
from tests.bench.grid.movers import PUT, Driven, Mover, Program, curl, rclone
from tests.bench.grid.sites import Site
from tests.bench.signing import BUCKET, Signer, account
from tests.servers.gridftp import GridFtp, Identity
from tests.servers.irods import PASSWORD, USER, ZONE, Irods
from tests.servers.process import find_program
from tests.servers.swift import ACCESS_KEY, REGION, SECRET_KEY, Swift


class S3Site(Site):
    name = "S3"
    remark = (
        "The server is OpenStack Swift. boto3's managed transfer runs, like the adapter, in a process that has loaded"
        " it; it takes several connections for one file by itself, as rclone does, and curl takes one."
    )

    def __enter__(self) -> S3Site:
        folder = self.folder / "swift"
        folder.mkdir()
        self._server = Swift(folder)
        self._server.start()
        self._server.create_bucket(BUCKET)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()

    def settings(self) -> dict[str, Any]:
        options = {"endpoint": self._server.endpoint, "region": REGION, "bucket": BUCKET}
        return {
            "scheme": "s3",
            "options": options,
            "credential": {"access_key": ACCESS_KEY, "secret_key": SECRET_KEY},
        }

    def rivals(self) -> Sequence[Mover]:
        remote = {"provider": "Other", "access_key_id": ACCESS_KEY, "secret_access_key": SECRET_KEY, "region": REGION}
        return [
            curl("curl, pre-signed URLs", Signer(self._server).url),
            Driven("boto3", "boto3", {"bucket": BUCKET, **account(self._server)}),
            rclone(f"{BUCKET}/", type="s3", endpoint=self._server.endpoint, **remote),
        ]

    def bars(self, ours: str) -> Mapping[str, float]:
        return {"curl, pre-signed URLs": 0.9, "boto3": 1.0}


class GridFtpSite(Site):
    name = "GridFTP"
    remark = (
        "Waybill runs a gfal2 process for each file at once, and the server computes the Adler-32 of what was put"
        " before it is published; `globus-url-copy` asks for no checksum. rclone has no GridFTP."
    )

    def __enter__(self) -> GridFtpSite:
        folder = self.folder / "gridftp"
        identity = Identity.make(folder / "identity")
        self._server = GridFtp(folder, identity)
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()

    def settings(self) -> dict[str, Any]:
        server = self._server
        return {"scheme": "gsiftp", "options": server.options(), "credential": server.identity.secrets()}

    def rivals(self) -> Sequence[Mover]:
        server, identity = self._server, self._server.identity
        program = find_program("globus-url-copy", package="globus-gass-copy-progs")
        certificate, key = identity.user
        env = {
            "X509_CERT_DIR": str(identity.authority.trusted),
            "X509_USER_CERT": str(certificate),
            "X509_USER_KEY": str(key),
        }

        def command(job: Job, names: Sequence[str]) -> tuple[Sequence[str], str]:
            pairs = [
                (f"file://{job.file(name)}", f"gsiftp://{server.host}:{server.port}{server.root}/{job.key(name)}")
                for name in names
            ]
            lines = [" ".join(pair if job.way == PUT else reversed(pair)) for pair in pairs]
            told = self.folder / f"pairs-{names[0]}"
            told.write_text("\n".join([*lines, ""]))
            return [program, "-q", "-f", str(told)], ""

        return [Program("globus-url-copy", command, env=env)]


class IrodsSite(Site):
    name = "iRODS stand-in"
    remark = (
        "The server is the stand-in of the tests, written in Python: most of the time is its own, and the figures say"
        " little of a real iRODS. It computes the SHA-256 of what Waybill puts, before that is published. rclone has"
        " no iRODS."
    )

    def __enter__(self) -> IrodsSite:
        self._server = Irods(self.folder / "irods")
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()

    def settings(self) -> dict[str, Any]:
        return {"scheme": "irods", "options": self._server.options(), "credential": {"password": PASSWORD}}

    def rivals(self) -> Sequence[Mover]:
        server = self._server
        account = {"host": server.host, "port": server.port, "user": USER, "password": PASSWORD, "zone": ZONE}
        return [Driven("python-irodsclient", "irodsclient", {"root": server.root, **account})]
