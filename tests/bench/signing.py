"""The bucket of the benches, and the signed URLs of its objects."""

from __future__ import annotations

from typing import Any

import boto3
from botocore.config import Config

from tests.servers.swift import ACCESS_KEY, REGION, SECRET_KEY, Swift

BUCKET = "bench"
_LIFETIME_S = 86_400


def account(server: Swift) -> dict[str, Any]:
    """What boto3 has to be told of the server."""
    return {
        "endpoint_url": server.endpoint,
        "region_name": REGION,
        "aws_access_key_id": ACCESS_KEY,
        "aws_secret_access_key": SECRET_KEY,
    }


class Signer:
    """``client`` is boto3's, for up to ``connections`` at once."""

    def __init__(self, server: Swift, *, connections: int = 10) -> None:
        # The adapter's client asks for no more checksums either.
        checksums: dict[str, Any] = dict.fromkeys(
            ("request_checksum_calculation", "response_checksum_validation"), "when_required"
        )
        style = {"addressing_style": "path"}
        config = Config(signature_version="s3v4", s3=style, max_pool_connections=connections, **checksums)  # type: ignore[arg-type]
        self.client = boto3.client("s3", config=config, **account(server))

    def url(self, way: str, key: str) -> str:
        """``way`` is PUT or GET."""
        signed: str = self.client.generate_presigned_url(
            f"{way.lower()}_object", Params={"Bucket": BUCKET, "Key": key}, ExpiresIn=_LIFETIME_S
        )
        return signed
