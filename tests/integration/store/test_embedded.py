"""The embedded server starts once, survives every death, upgrades what is old, refuses what it cannot run, and leaves nothing."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest

from foliot.kit.clock import SystemClock
from foliot.kit.lifecycle import PartFailedError
from foliot_scheduler.store import cluster, programs
from foliot_scheduler.store.cluster import SOCKET_PATH_BYTES_MAX, DataDirectory
from foliot_scheduler.store.embedded import EmbeddedPostgres
from foliot_scheduler.store.errors import DatabaseUrlError, EmbeddedPostgresError
from foliot_scheduler.store.pool import open_pool
from foliot_scheduler.store.programs import Identity, identity_for

_PROCESS = Path(__file__).with_name("embedded_process.py")


async def _fetchval(url: str, query: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def test_a_directory_is_used_again(tmp_path: Path) -> None:
    async with EmbeddedPostgres(tmp_path / "data") as server:
        await _fetchval(server.url, "SELECT lo_create(4711)")
        pid = server.pid
        assert stat.S_IMODE((tmp_path / "data" / "run").stat().st_mode) == 0o700
        assert stat.S_IMODE((tmp_path / "data" / "postgres.password").stat().st_mode) == 0o600
    assert pid is not None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert cluster._processes_in(tmp_path / "data" / "postgres") == []
    async with EmbeddedPostgres(tmp_path / "data") as server:
        assert await _fetchval(server.url, "SELECT count(*) FROM pg_largeobject_metadata WHERE oid = 4711") == 1


async def test_the_second_of_two_starts_is_refused(tmp_path: Path) -> None:
    async with EmbeddedPostgres(tmp_path) as first:
        with pytest.raises(EmbeddedPostgresError, match=rf"{tmp_path} is in use by another.*pid {os.getpid()}"):
            await EmbeddedPostgres(tmp_path).start()
        assert await _fetchval(first.url, "SELECT 1") == 1


async def test_of_many_starts_at_once_one_wins(tmp_path: Path) -> None:
    servers = [EmbeddedPostgres(tmp_path) for _ in range(4)]
    results = await asyncio.gather(*(server.start() for server in servers), return_exceptions=True)
    assert [type(result) for result in results if result is not None] == [EmbeddedPostgresError] * 3
    for server in servers:
        await server.stop()


@pytest.mark.parametrize("victims", ["us", "both", "server first"])
def test_what_was_acknowledged_survives_kill_9(tmp_path: Path, victims: str) -> None:
    acknowledged = 0
    for _ in range(2):
        with subprocess.Popen([sys.executable, str(_PROCESS), str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            word, _, pid = process.stdout.readline().partition(" ")
            assert word == "pid"
            for _ in range(50):
                acknowledged = int(process.stdout.readline())
            if victims == "server first":
                os.kill(int(pid), signal.SIGKILL)
            process.kill()
            if victims == "both":
                os.kill(int(pid), signal.SIGKILL)
            lines = process.stdout.read().splitlines()
        acknowledged = max([acknowledged, *(int(line) for line in lines if line.isdigit())])

    async def count() -> object:
        async with EmbeddedPostgres(tmp_path) as server:
            return await _fetchval(server.url, "SELECT count(*) FROM kept")

    # One more may have been written without its answer having been seen, for each life.
    found = asyncio.run(count())
    assert isinstance(found, int)
    assert acknowledged <= found <= acknowledged + 2


async def _run_by_hand(directory: Path, major: int, *options: str) -> asyncio.subprocess.Process:
    """Start a server that does not end with us, as a Foliot that was killed at the wrong moment might leave it."""
    identity = identity_for(directory / "postgres", directory / "postgres", programs.programs(major))
    return await programs.launch(
        identity,
        str(programs.programs(major) / "postgres"),
        "-D",
        str(directory / "postgres"),
        "-c",
        f"unix_socket_directories={directory / 'run'}",
        "-c",
        "listen_addresses=",
        *options,
        death_signal=signal.SIGCONT,
        output=asyncio.subprocess.DEVNULL,
        cwd=directory,
    )


async def _wait_accepting(directory: Path, user: str, database: str) -> asyncpg.Connection[asyncpg.Record]:
    while True:
        try:
            return await asyncpg.connect(f"postgresql://{user}@/{database}?host={directory / 'run'}&port=5432")
        except (OSError, asyncpg.CannotConnectNowError):
            await SystemClock().sleep(0.01)


async def test_an_orphan_is_stopped(tmp_path: Path) -> None:
    async with EmbeddedPostgres(tmp_path):
        pass
    orphan = await _run_by_hand(tmp_path, programs.MAJOR)
    connection = await _wait_accepting(tmp_path, "foliot", "foliot")
    await connection.execute("CREATE TABLE written_by_orphan (x integer)")
    await connection.close()
    async with EmbeddedPostgres(tmp_path) as server:
        assert await orphan.wait() is not None
        assert await _fetchval(server.url, "SELECT to_regclass('written_by_orphan') IS NOT NULL")


async def test_files_that_a_dead_server_left_do_not_matter(tmp_path: Path) -> None:
    async with EmbeddedPostgres(tmp_path):
        pass
    # A process id that is alive, and is not a server's.
    (tmp_path / "postgres" / "postmaster.pid").write_text(f"{os.getppid()}\n{tmp_path / 'postgres'}\n0\n5432\n\n\n\n")
    (tmp_path / "run" / ".s.PGSQL.5432.lock").write_text(f"{os.getppid()}\n")
    (tmp_path / "postgres.new").mkdir()
    (tmp_path / "postgres.new" / "half").write_text("made")
    async with EmbeddedPostgres(tmp_path) as server:
        assert await _fetchval(server.url, "SELECT 1") == 1
    assert not (tmp_path / "postgres.new").exists()


async def test_a_server_that_ends_by_itself_is_a_failure(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path)
    await server.start()
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    with pytest.raises(PartFailedError) as caught:
        await server.wait_ended()
    assert isinstance(caught.value.__cause__, EmbeddedPostgresError)
    assert str(tmp_path) in str(caught.value.__cause__)
    await server.stop()


async def _wait_answering(server: EmbeddedPostgres) -> None:
    while True:
        try:
            await _fetchval(server.url, "SELECT 1")
        except (OSError, asyncpg.PostgresError):
            await SystemClock().sleep(0.01)
        else:
            return


async def test_a_server_that_is_killed_is_started_again_if_so_wanted(tmp_path: Path) -> None:
    async with EmbeddedPostgres(tmp_path, restarts=True) as server:
        await _fetchval(server.url, "SELECT lo_create(4711)")
        killed = server.pid
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        while server.pid == killed:
            await SystemClock().sleep(0.01)
        await _wait_answering(server)
        assert await _fetchval(server.url, "SELECT count(*) FROM pg_largeobject_metadata WHERE oid = 4711") == 1


async def test_a_disk_that_is_gone_is_waited_for_and_not_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with EmbeddedPostgres(tmp_path / "data", restarts=True) as server:
        cluster, elsewhere = tmp_path / "data" / "postgres", tmp_path / "elsewhere"
        assert server.pid is not None
        cluster.rename(elsewhere)
        os.kill(server.pid, signal.SIGKILL)
        while "database.not_started" not in capsys.readouterr().out:
            await SystemClock().sleep(0.01)
        assert not cluster.exists()
        elsewhere.rename(cluster)
        await _wait_answering(server)


async def test_a_newer_cluster_is_refused_and_left_alone(tmp_path: Path) -> None:
    async with EmbeddedPostgres(tmp_path):
        pass
    (tmp_path / "postgres" / "PG_VERSION").write_text("99\n")
    with pytest.raises(EmbeddedPostgresError, match=rf"{tmp_path} was written by PostgreSQL 99, and this Foliot brings 18"):
        await EmbeddedPostgres(tmp_path).start()
    (tmp_path / "postgres" / "PG_VERSION").write_text("9\n")
    with pytest.raises(EmbeddedPostgresError, match="PostgreSQL 9, which this Foliot cannot upgrade"):
        await EmbeddedPostgres(tmp_path).start()
    (tmp_path / "postgres" / "PG_VERSION").write_text("18\n")
    async with EmbeddedPostgres(tmp_path) as server:
        assert await _fetchval(server.url, "SELECT 1") == 1


async def test_what_is_no_cluster_is_refused(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    with pytest.raises(EmbeddedPostgresError, match="is not a PostgreSQL cluster"):
        await EmbeddedPostgres(tmp_path).start()
    (tmp_path / "file").write_text("")
    with pytest.raises(EmbeddedPostgresError, match=rf"{tmp_path / 'file'} cannot be used"):
        await EmbeddedPostgres(tmp_path / "file").start()


async def _make_older(directory: Path) -> None:
    """Make a cluster of the older major version with a row in it, and kill its server."""
    identity: Identity = identity_for(directory / "postgres", directory / "postgres", programs.programs(16))
    for folder in (directory / "postgres", directory / "run"):
        folder.mkdir(mode=0o700)
        identity.give(folder)
    await programs.run(
        identity,
        str(programs.programs(16) / "initdb"),
        f"--pgdata={directory / 'postgres'}",
        "--username=foliot",
        "--auth=trust",
        "--encoding=UTF8",
        "--locale=C",
        cwd=directory,
    )
    older = await _run_by_hand(directory, 16)
    connection = await _wait_accepting(directory, "foliot", "postgres")
    await connection.execute("CREATE DATABASE foliot")
    await connection.close()
    connection = await _wait_accepting(directory, "foliot", "foliot")
    await connection.execute("CREATE TABLE kept AS SELECT 'é' AS word")
    await connection.close()
    older.kill()
    await older.wait()


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_an_older_cluster_is_upgraded(tmp_path: Path) -> None:
    await _make_older(tmp_path)
    async with EmbeddedPostgres(tmp_path) as server:
        assert await _fetchval(server.url, "SELECT word FROM kept") == "é"
        version = await _fetchval(server.url, "SHOW server_version_num")
        assert str(version).startswith("18")
    assert (tmp_path / "postgres.old-16" / "PG_VERSION").read_text() == "16\n"
    # As if killed between the two renames of the swap.
    (tmp_path / "postgres").rename(tmp_path / "postgres.new")
    async with EmbeddedPostgres(tmp_path) as server:
        assert await _fetchval(server.url, "SELECT word FROM kept") == "é"


@pytest.mark.parametrize("name", ["x" * 120, "with, comma and spaces?"])
async def test_a_path_that_no_socket_can_have(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = tmp_path / "runtime"
    runtime.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    async with EmbeddedPostgres(tmp_path / name) as server:
        assert await _fetchval(server.url, "SELECT 1") == 1
        assert len(server.url.partition("host=")[2]) <= SOCKET_PATH_BYTES_MAX
    assert not (tmp_path / name / "run").exists()


async def test_a_socket_folder_of_somebody_else_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    data = tmp_path / "a,b"
    data.mkdir()
    directory = DataDirectory(data, SystemClock())
    folder = directory.socket_folder(Identity(None), 5432)
    folder.rmdir()
    (tmp_path / "theirs").mkdir()
    folder.symlink_to(tmp_path / "theirs")
    with pytest.raises(EmbeddedPostgresError, match="belongs to somebody else"):
        directory.socket_folder(Identity(None), 5432)


async def test_tcp_takes_the_password(tmp_path: Path) -> None:
    port = _free_port()
    async with EmbeddedPostgres(tmp_path, port) as server:
        assert f"@127.0.0.1:{port}/foliot" in server.url
        assert await _fetchval(server.url, "SHOW listen_addresses") == "127.0.0.1"
        assert await _fetchval(server.socket_url, "SELECT 1") == 1
        with pytest.raises(DatabaseUrlError, match=r"refuses the user or the password") as caught:
            await open_pool(server.url.replace(server._directory.password, "sesame"))
        assert "sesame" not in str(caught.value)


async def test_without_a_port_nothing_listens(tmp_path: Path) -> None:
    async with EmbeddedPostgres(tmp_path) as server:
        assert await _fetchval(server.url, "SHOW listen_addresses") == ""


async def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(EmbeddedPostgresError, match=f"cannot listen on 127.0.0.1:{port}: Address already in use"):
            await EmbeddedPostgres(tmp_path, port).start()


async def test_a_server_that_cannot_start_is_quoted_and_gives_the_directory_back(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedPostgresError, match=r"did not start: .*unrecognized configuration parameter \"no_such\""):
        await EmbeddedPostgres(tmp_path, settings={"no_such": "1"}).start()
    async with EmbeddedPostgres(tmp_path) as server:
        assert await _fetchval(server.url, "SELECT 1") == 1


async def test_a_start_that_is_cancelled_leaves_nothing(tmp_path: Path) -> None:
    starting = asyncio.create_task(EmbeddedPostgres(tmp_path).start())
    while not (tmp_path / "postgres.new").exists():
        await SystemClock().sleep(0)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert cluster._processes_in(tmp_path / "postgres.new") == []
    async with EmbeddedPostgres(tmp_path) as server:
        assert await _fetchval(server.url, "SELECT 1") == 1
