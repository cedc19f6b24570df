"""The audit log: what went through, what was found in it, what people said of it.

SQLite in its write-ahead mode, or PostgreSQL by URL. Events are only ever added; taking texts out
(retention, redaction) leaves that they were there. A commit is waited for before a client is told
that its answer is complete: many events that come at a time share one.
"""

from __future__ import annotations

import asyncio
import json
import queue
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sql
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from foresight.errors import UserError
from foresight.serve.errors import ServiceError

SQLITE = "sqlite:///"
_TOGETHER = 256
"""Events of one commit, at most."""
_META = sql.MetaData()
_ID = sql.BigInteger().with_variant(sql.Integer, "sqlite")
EVENTS = sql.Table(
    "events", _META,
    sql.Column("id", _ID, primary_key=True, autoincrement=True),
    sql.Column("request_id", sql.String(80), nullable=False, index=True),
    sql.Column("at", sql.Float, nullable=False, index=True),
    sql.Column("key", sql.String(64), nullable=False),
    sql.Column("subject", sql.String(80), nullable=False, index=True),
    sql.Column("route", sql.String(80), nullable=False),
    sql.Column("model", sql.String(200), nullable=False),
    sql.Column("weights", sql.String(200), nullable=False),
    sql.Column("input", sql.Text, nullable=False),
    sql.Column("output", sql.Text, nullable=False),
    sql.Column("scores", sql.Text, nullable=False),
    sql.Column("policy", sql.String(120), nullable=False),
    sql.Column("action", sql.String(8), nullable=False, index=True),
    sql.Column("category", sql.String(64)),
    sql.Column("sampled", sql.Boolean, nullable=False, index=True),
    sql.Column("sample_rate", sql.Float, nullable=False),
    sql.Column("finish", sql.String(20), nullable=False),
    sql.Column("tokens", sql.Integer, nullable=False),
    sql.Column("redacted_at", sql.Float),
)  # fmt: skip
LABELS = sql.Table(
    "labels", _META,
    sql.Column("id", _ID, primary_key=True, autoincrement=True),
    sql.Column("event_id", sql.ForeignKey("events.id"), nullable=False, index=True),
    sql.Column("reviewer", sql.String(64), nullable=False),
    sql.Column("verdict", sql.String(64), nullable=False),
    sql.Column("better", sql.Text, nullable=False),
    sql.Column("note", sql.Text, nullable=False),
    sql.Column("at", sql.Float, nullable=False),
    sql.UniqueConstraint("event_id", "reviewer"),
)  # fmt: skip
FEEDBACK = sql.Table(
    "feedback", _META,
    sql.Column("id", _ID, primary_key=True, autoincrement=True),
    sql.Column("request_id", sql.String(80), nullable=False, index=True),
    sql.Column("key", sql.String(64), nullable=False),
    sql.Column("verdict", sql.String(20), nullable=False),
    sql.Column("why", sql.Text, nullable=False),
    sql.Column("at", sql.Float, nullable=False),
)  # fmt: skip
STANDINGS = sql.Table(
    "standings", _META,
    sql.Column("id", _ID, primary_key=True, autoincrement=True),
    sql.Column("subject", sql.String(80), nullable=False, index=True),
    sql.Column("state", sql.String(20), nullable=False),
    sql.Column("by", sql.String(64), nullable=False),
    sql.Column("why", sql.Text, nullable=False),
    sql.Column("at", sql.Float, nullable=False),
)  # fmt: skip
_VERSIONS = sql.Table("schema_version", _META, sql.Column("version", sql.Integer, primary_key=True))


def _first(connection: Connection) -> None:
    _META.create_all(connection)


_MIGRATIONS = (_first,)
"""Each takes the schema one version further; done in order, all in one transaction."""


@dataclass(frozen=True)
class Event:
    """One exchange. `input`: messages as JSON rows; `output`: texts; `subject`: whose it was, as a
    hash; `sampled`: drawn for review although nothing was found, with chance `sample_rate`."""

    request_id: str
    key: str
    subject: str
    route: str
    model: str
    weights: str
    input: Sequence[dict[str, Any]]
    output: Sequence[str]
    scores: dict[str, dict[str, float]]
    policy: str
    action: str
    category: str | None
    sampled: bool
    sample_rate: float
    finish: str
    tokens: int
    at: float = field(default_factory=time.time)

    def row(self) -> dict[str, Any]:
        found = {name: getattr(self, name) for name in self.__dataclass_fields__}
        for name in ("input", "output", "scores"):
            found[name] = json.dumps(found[name], ensure_ascii=False)
            # What no database holds: NUL, halves of surrogate pairs.
            found[name] = found[name].replace("\\u0000", "\\ufffd")
            found[name] = found[name].encode(errors="replace").decode()
        return found


class AuditLog:
    """Raises UserError if the database cannot be opened or is of a newer program."""

    def __init__(self, url: str) -> None:
        self._path = Path(url.removeprefix(SQLITE)) if url.startswith(SQLITE) else None
        self.engine = _connect(url, self._path)
        self._migrate()
        self._file = self._path and self._path.stat().st_ino
        self._inbox: queue.SimpleQueue[tuple[Event, Future[None]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write_all, name="audit", daemon=True)
        self._thread.start()

    async def append(self, event: Event) -> None:
        """Returns once it is committed. Raises ServiceError 503 if it cannot be."""
        done: Future[None] = Future()
        self._inbox.put((event, done))
        await asyncio.shield(asyncio.wrap_future(done))

    def close(self) -> None:
        """What was handed in is written first."""
        self._inbox.put(None)
        self._thread.join()
        self.engine.dispose()

    def write(self, table: sql.Table, row: dict[str, Any]) -> None:
        """Add a row to a table. Raises ServiceError 503."""
        with self.transaction() as connection:
            connection.execute(sql.insert(table), row)

    def transaction(self) -> _Guarded:
        """A connection in a transaction. Raises ServiceError 503 where there is none to be had."""
        return _Guarded(self)

    def check(self) -> None:
        """Raises ServiceError 503 if the file is not the one that was opened: what is written to
        a file that was deleted is lost without a word."""
        if self._path is not None:
            try:
                same = self._path.stat().st_ino == self._file
            except OSError:
                same = False
            if not same:
                raise ServiceError(503, "the audit log's file is gone; nothing is answered "
                                   "without a record", "audit_unavailable")  # fmt: skip

    # Own thread

    def _write_all(self) -> None:
        while (entry := self._inbox.get()) is not None:
            batch, last = [entry], False
            while len(batch) < _TOGETHER and not self._inbox.empty():
                further = self._inbox.get()
                if further is None:
                    last = True
                    break
                batch.append(further)
            self._write([event for event, _ in batch], [done for _, done in batch])
            if last:
                return

    def _write(self, events: Sequence[Event], waiting: Sequence[Future[None]]) -> None:
        error: Exception | None = None
        try:
            with self.transaction() as connection:
                connection.execute(sql.insert(EVENTS), [one.row() for one in events])
        except Exception as found:  # told to those who wait, whatever it is
            error = found
        for done in waiting:
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)

    def _migrate(self) -> None:
        try:
            with self.engine.begin() as connection:
                _VERSIONS.create(connection, checkfirst=True)
                found = connection.execute(sql.select(sql.func.max(_VERSIONS.c.version))).scalar()
                if (found or 0) > len(_MIGRATIONS):
                    raise UserError(
                        f"database: its schema has version {found}, this program knows "
                        f"{len(_MIGRATIONS)}; use a newer one"
                    )
                for version, migrate in enumerate(_MIGRATIONS[found or 0 :], (found or 0) + 1):
                    migrate(connection)
                    connection.execute(sql.insert(_VERSIONS), {"version": version})
        except SQLAlchemyError as error:
            raise UserError(f"database: cannot be opened ({_words(error)})") from None


class _Guarded:
    """`engine.begin()` whose database errors are the client's 503."""

    def __init__(self, log: AuditLog) -> None:
        self._log = log

    def __enter__(self) -> Connection:
        self._log.check()
        try:
            self._context = self._log.engine.begin()
            return self._context.__enter__()
        except SQLAlchemyError as error:
            raise _unavailable(error) from None

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        try:
            self._context.__exit__(kind, error, trace)
        except SQLAlchemyError as broken:
            raise _unavailable(broken) from None
        if isinstance(error, SQLAlchemyError):
            raise _unavailable(error) from None


def _unavailable(error: SQLAlchemyError) -> ServiceError:
    return ServiceError(
        503, f"the audit log cannot be written ({_words(error)}); nothing is answered without a "
        "record", "audit_unavailable", retry_after_seconds=5.0,
    )  # fmt: skip


def _words(error: SQLAlchemyError) -> str:
    """What the database said, without the statement and its values."""
    return str(getattr(error, "orig", None) or error).splitlines()[0][:200]


def _connect(url: str, path: Path | None) -> Engine:
    try:
        if path is None:
            return sql.create_engine(url, pool_pre_ping=True, pool_size=8, max_overflow=8)
        path.parent.mkdir(parents=True, exist_ok=True)
        engine = sql.create_engine(url, connect_args={"timeout": 5.0})
    except (SQLAlchemyError, ImportError, OSError) as error:
        raise UserError(f"database: {error}; write it like sqlite:///audit.db or "
                        "postgresql+psycopg://USER@HOST/NAME") from None  # fmt: skip

    @sql.event.listens_for(engine, "connect")
    def _settings(connection: Any, _: Any) -> None:
        connection.execute("pragma journal_mode=wal")
        # A commit survives a power cut, not only a killed process.
        connection.execute("pragma synchronous=full")
        connection.execute("pragma foreign_keys=on")

    return engine
