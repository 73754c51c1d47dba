"""What the tests of the evaluation share: a cache of their own, and golden cases as objects."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """METEOR's cut tables go to a folder that ends with the tests."""
    os.environ["COOTMART_CACHE"] = str(tmp_path_factory.mktemp("cache"))
