"""The servers of these tests, each started once."""

from collections.abc import Iterator, Mapping

import pytest

from tests.engine.source import servers


@pytest.fixture(name="store", scope="session")
def _store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    with servers.store(tmp_path_factory.mktemp("store")) as environment:
        yield environment


@pytest.fixture(name="database", scope="session")
def _database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with servers.database(tmp_path_factory.mktemp("database") / "postgres") as url:
        yield url
