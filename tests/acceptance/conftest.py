"""One script for all acceptance tests: preparing it costs some seconds."""

import pytest

from tests.acceptance import stage


@pytest.fixture(scope="session")
def script(tmp_path_factory: pytest.TempPathFactory) -> stage.Script:
    return stage.Script.prepare(tmp_path_factory.mktemp("script"))
