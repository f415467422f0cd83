"""Asserts in the adapters' test kit explain themselves as those in test modules do; the S3 server is started once."""

from collections.abc import Iterator

import pytest

from tests.servers.swift import Swift

pytest.register_assert_rewrite("adapters.testkit")


@pytest.fixture(scope="session")
def swift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swift]:
    with Swift(tmp_path_factory.mktemp("swift")) as server:
        yield server
