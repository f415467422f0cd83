"""Asserts in the adapters' test kit explain themselves as those in test modules do."""

import pytest

pytest.register_assert_rewrite("adapters.testkit")
