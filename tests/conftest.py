"""What every test run shares: how hypothesis behaves, and a PostgreSQL server.

Fixtures that only some tests use live next to them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import hypothesis
import pytest

from foliot_scheduler.store.pool import Pool, open_pool
from tests.postgres import PostgresServer
from tests.processes import Stack
from tests.redis_server import RedisServer

# No deadline, because a shared machine is sometimes slow and no test may depend on how fast it ran. The blob printed
# with a failure repeats exactly that example on any machine (`@reproduce_failure`).
hypothesis.settings.register_profile("foliot", deadline=None, print_blob=True)
hypothesis.settings.load_profile("foliot")


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A PostgreSQL server for the whole test process."""
    server = PostgresServer(tmp_path_factory.mktemp("postgres"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def database_url(postgres_server: PostgresServer) -> Iterator[str]:
    """A migrated database of the test's own."""
    name = postgres_server.create_database()
    yield postgres_server.url(name)
    postgres_server.drop_database(name)


@pytest.fixture
def empty_database_url(postgres_server: PostgresServer) -> Iterator[str]:
    """A database of the test's own without any tables."""
    name = postgres_server.create_database(empty=True)
    yield postgres_server.url(name)
    postgres_server.drop_database(name)


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    """A pool on the test's database."""
    pool = await open_pool(database_url)
    yield pool
    await pool.close()


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis for the whole test process, for tests that leave it running."""
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def redis_url(redis_server: RedisServer) -> Iterator[str]:
    """An empty Redis; all that a test leaves in it must go by itself."""
    with redis_server.client() as redis:
        redis.flushall()
        yield redis_server.url
        assert not [key for key in redis.keys("*") if redis.ttl(key) < 0]


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A whole stack: PostgreSQL, scheduler, worker and gateway, each a process of its own."""
    with Stack(tmp_path_factory.mktemp("stack")) as stack:
        stack.start()
        yield stack


@pytest.fixture(scope="session")
def stack_url(stack: Stack) -> str:
    """The address of the stack's gateway."""
    return stack.http_url


@pytest.fixture(scope="session")
def secured_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A whole stack that asks for credentials: `admin_key` reaches everything, `create_key` makes others."""
    with Stack(tmp_path_factory.mktemp("secured_stack"), auth=True) as stack:
        stack.start()
        yield stack
