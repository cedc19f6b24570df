"""The audit log under faults: what a client was told is complete is on record, whatever happens."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sql

from foresight.errors import UserError
from foresight.serve import review
from foresight.serve.audit import EVENTS, AuditLog, Event
from foresight.serve.errors import ServiceError
from foresight.serve.policy import Policy
from foresight.serve.settings import ServiceSettings
from tests.serve.service import Running, free_port, running, started, until

EVENT = Event(
    "req-1", "ann", "ann", "/v1/chat/completions", "m", "m@1",
    [{"role": "user", "content": "Hi \x00 \ud800"}], ["Ho"], {"input": {"a": 0.5}}, "p/1@0",
    "flag", "a", False, 0.1, "stop", 3,
)  # fmt: skip
KILLS = int(os.environ.get("FORESIGHT_KILLS", "3"))
"""`make conformance` kills twenty times."""
CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4}


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real server, as another user where this one is root."""
    binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not binaries:
        pytest.skip("needs PostgreSQL: apt-get install postgresql")
    folder = tmp_path_factory.mktemp("postgres")
    as_user = [] if os.getuid() else ["setpriv", "--reuid=postgres", "--regid=postgres",
                                      "--clear-groups"]  # fmt: skip
    data = folder / "data"
    if as_user:
        for parent in (folder, *folder.parents[:3]):
            if parent.owner() == "root" and parent != Path("/"):
                parent.chmod(0o755)
        data.mkdir()
        shutil.chown(data, "postgres", "postgres")
        shutil.chown(folder, "postgres", "postgres")
    port = free_port()
    subprocess.run([*as_user, binaries[-1] / "initdb", "-D", data, "-U", "foresight",
                    "--auth=trust"], check=True, capture_output=True)  # fmt: skip
    server = subprocess.Popen(
        [*as_user, binaries[-1] / "postgres", "-D", data, "-p", str(port), "-k", folder,
         "-c", "listen_addresses=127.0.0.1"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    url = f"postgresql+psycopg://foresight@127.0.0.1:{port}/postgres"

    def answers() -> bool:
        try:
            sql.create_engine(url).connect().close()
        except sql.exc.OperationalError:
            return False
        return True

    try:
        until(answers)
        yield url
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(20)


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/audit.db"
    found: str = request.getfixturevalue("postgres")
    with sql.create_engine(found).begin() as database:
        database.execute(sql.text("drop schema public cascade; create schema public"))
    return found


def write(log: AuditLog, *events: Event) -> None:
    async def all_of_them() -> None:
        await asyncio.gather(*(log.append(one) for one in events))

    asyncio.run(all_of_them())


def test_events_come_back(url: str) -> None:
    log = AuditLog(url)
    write(log, EVENT, replace(EVENT, request_id="req-2", action="allow", sampled=True))
    policy = Policy.model_validate({"categories": [{"name": "a"}]})
    first, second = review.queue(log, policy, "ann")
    assert (first.category, first.scores, first.output) == ("a", {"input": {"a": 0.5}}, ["Ho"])
    assert "\x00" not in first.input[0]["content"]
    review.label(log, policy, first.id, "ann", "a", "", "")
    review.label(log, policy, second.id, "ann", "fine", "", "")
    review.label(log, policy, first.id, "ann", "fine", "", "changed")
    found = review.standing(log, "p/1@0")
    assert (found.precision.value, found.missed.value) == (0.0, 0.0)
    log.close()
    again = AuditLog(url)
    with again.transaction() as database:
        assert database.execute(sql.select(sql.func.count()).select_from(EVENTS)).scalar() == 2
    again.close()


def test_many_writers_and_replicas(url: str) -> None:
    """Two services on one database."""
    logs = [AuditLog(url), AuditLog(url)]
    events = [replace(EVENT, request_id=f"req-{at}") for at in range(300)]
    threads = [
        threading.Thread(target=write, args=(log, *events[at::2])) for at, log in enumerate(logs)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with logs[0].transaction() as database:
        ids = [row.request_id for row in database.execute(sql.select(EVENTS.c.request_id))]
    assert sorted(ids) == sorted(one.request_id for one in events)
    for log in logs:
        log.close()


def test_a_newer_schema_is_refused(url: str) -> None:
    log = AuditLog(url)
    with log.transaction() as database:
        database.execute(sql.text("insert into schema_version values (99)"))
    log.close()
    with pytest.raises(UserError, match="version 99"):
        AuditLog(url)


@pytest.mark.parametrize(
    "wrong",
    ["nonsense", "mysql://x", "postgresql+psycopg://x@127.0.0.1:1/x", "sqlite:////proc/x.db"],
)
def test_a_database_that_cannot_be_opened(wrong: str) -> None:
    with pytest.raises(UserError, match="database"):
        AuditLog(wrong)


@pytest.fixture
def service(run: Path, tmp_path: Path) -> Iterator[Running]:
    settings = ServiceSettings(models={"tiny": str(run)}, database=f"sqlite:///{tmp_path}/a.db")
    with running(settings) as found:
        yield found


def _refused_then_goes_on(service: Running, named: str) -> None:
    status, _, body = service.ask("POST", "/v1/chat/completions", CHAT)
    assert status == 503 and named in body["error"]["message"], body
    assert body["error"]["code"] == "audit_unavailable"
    # A stream breaks off with the error, and without its end.
    _, _, stream = service.ask("POST", "/v1/chat/completions", {**CHAT, "stream": True})
    assert b"audit_unavailable" in stream and b"[DONE]" not in stream
    assert service.ask("GET", "/health")[0] == 200


def test_a_locked_database(service: Running, tmp_path: Path) -> None:
    holder = sqlite3.connect(tmp_path / "a.db", isolation_level=None)
    holder.execute("begin immediate")
    _refused_then_goes_on(service, "locked")
    holder.execute("rollback")
    assert service.ask("POST", "/v1/chat/completions", CHAT)[0] == 200


def test_a_vanished_database(service: Running, tmp_path: Path) -> None:
    for path in tmp_path.glob("a.db*"):
        path.rename(path.with_name("gone-" + path.name))
    _refused_then_goes_on(service, "gone")
    for path in tmp_path.glob("gone-*"):
        path.rename(path.with_name(path.name.removeprefix("gone-")))
    assert service.ask("POST", "/v1/chat/completions", CHAT)[0] == 200


def test_a_full_disk(run: Path, tmp_path: Path) -> None:
    """A file system of two megabytes."""
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "none", small], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("needs the right to mount a small file system")
    try:
        settings = ServiceSettings(models={"tiny": str(run)}, database=f"sqlite:///{small}/a.db")
        with running(settings) as service:
            assert service.ask("POST", "/v1/chat/completions", CHAT)[0] == 200
            filler = small / "filler"
            with filler.open("wb", buffering=0) as stream:
                try:
                    while True:
                        stream.write(b"x" * 4096)
                except OSError:
                    pass
            statuses = [service.ask("POST", "/v1/chat/completions", CHAT)[0] for _ in range(40)]
            assert 503 in statuses
            assert service.ask("GET", "/health")[0] == 200
            filler.unlink()
            assert service.ask("POST", "/v1/chat/completions", CHAT)[0] == 200
    finally:
        subprocess.run(["umount", "-l", small], check=False)


def test_a_killed_service_loses_nothing_that_it_acknowledged(run: Path, tmp_path: Path) -> None:
    """`kill -9` under load, again and again; every answer that ended is there afterwards."""
    acknowledged: set[str] = set()
    lock = threading.Lock()
    for round in range(KILLS):
        process, port = started(run, tmp_path)

        def ask(client: int, round: int = round, port: int = port, process: Any = process) -> None:
            for at in range(1000):
                name = f"r{round}-{client}-{at}"
                body = {**CHAT, "stream": bool(client % 2), "model": run.name}
                try:
                    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
                    connection.request("POST", "/v1/chat/completions", json.dumps(body), {
                        "Content-Type": "application/json", "x-request-id": name})  # fmt: skip
                    answer = connection.getresponse()
                    data = answer.read()
                except (OSError, http.client.HTTPException):
                    if process.poll() is not None:
                        return
                    time.sleep(0.1)
                    continue
                whole = b"[DONE]" in data if client % 2 else answer.status == 200
                if whole:
                    with lock:
                        acknowledged.add(name)

        threads = [threading.Thread(target=ask, args=(client,)) for client in range(8)]
        for thread in threads:
            thread.start()
        before = len(acknowledged)
        until(lambda before=before: len(acknowledged) > before + 40, 60.0)  # type: ignore[misc]
        process.kill()
        process.wait()
        for thread in threads:
            thread.join()
    log = AuditLog(f"sqlite:///{tmp_path}/audit.db")
    with log.transaction() as database:
        kept = {row.request_id for row in database.execute(sql.select(EVENTS.c.request_id))}
    log.close()
    assert len(acknowledged) > 40 * KILLS and acknowledged - kept == set()


def test_an_error_of_the_database_tells_no_contents(tmp_path: Path) -> None:
    log = AuditLog(f"sqlite:///{tmp_path}/a.db")
    with log.transaction() as database:
        database.execute(sql.text("drop table events"))
    with pytest.raises(ServiceError) as caught:
        write(log, EVENT)
    assert "no such table" in caught.value.message and "Ho" not in caught.value.message
    log.close()
