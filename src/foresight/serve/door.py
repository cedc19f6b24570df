"""Where every request comes in: its id, its key, its size, its time; and what it is told if
anything goes wrong.

Pure ASGI: behind a middleware that wraps requests nobody would hear that a client has left.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import re
import secrets
import time
from collections.abc import MutableMapping
from typing import Any
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from foresight.serve.errors import ServiceError, broken
from foresight.serve.keys import LOCAL, Bucket, Key, Keys, Role
from foresight.serve.metrics import Metrics

log = logging.getLogger("foresight.serve")
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_ROLES: tuple[tuple[str, Role], ...] = (
    ("/admin", "admin"),
    ("/metrics", "admin"),
    ("/review", "reviewer"),
)
PAGES = ("/", "/review")
"""What a browser asks for by itself: it is asked for a key in the browser's own way."""
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
)


class Door:
    """`scope["state"]` gets `request_id` and `key`."""

    def __init__(self, app: ASGIApp, keys: Keys | None, body_bytes: int, metrics: Metrics) -> None:
        self._app, self._keys, self._body_bytes, self._metrics = app, keys, body_bytes, metrics
        self._buckets: dict[tuple[str, str], Bucket] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        visit = _Visit(scope, send)
        try:
            key = self._let_in(scope, visit.headers)
            scope["state"] = {**scope.get("state", {}), "request_id": visit.id, "key": key,
                              "charge": lambda tokens: self._charge(key, tokens)}  # fmt: skip
            visit.key = key.name
            await self._app(scope, _bounded(receive, visit.headers, self._body_bytes), visit.send)
        except ServiceError as error:
            await visit.fail(error)
        except Exception:
            log.exception("request %s failed", visit.id)
            await visit.fail(broken(visit.id))
        finally:
            self._note(scope, visit)

    def _note(self, scope: Scope, visit: _Visit) -> None:
        seconds = time.monotonic() - visit.started
        # The pattern, not the path: its values are not for labels.
        route = getattr(scope.get("route"), "path", "none")
        self._metrics.requests.labels(route, str(visit.status)).inc()
        self._metrics.seconds.labels(route).observe(seconds)
        row = {
            "at": round(time.time(), 3), "request_id": visit.id, "key": visit.key,
            "method": scope["method"], "route": route, "status": visit.status,
            "seconds": round(seconds, 4),
        }  # fmt: skip
        log.info("%s", json.dumps(row))

    def _let_in(self, scope: Scope, headers: dict[str, str]) -> Key:
        """Raises ServiceError 401, 403, 429."""
        path = scope["path"]
        self._same_site(scope, headers)
        if self._keys is None:
            return LOCAL
        key = self._keys.find(_secret(headers.get("authorization", "")))
        if key is None:
            raise ServiceError(401, "no such key; send `Authorization: Bearer KEY`",
                               "invalid_api_key")  # fmt: skip
        for begins, role in _ROLES:
            if path.startswith(begins) and not key.may(role):
                raise ServiceError(403, f"the key of {key.name} is a {key.role}'s; this is for "
                                   f"{role}s", "insufficient_role")  # fmt: skip
        for name, rate, amount in (
            ("requests", key.requests_per_minute, 1.0),
            ("tokens", key.tokens_per_minute, 0.0),
        ):
            if rate is None:
                continue
            bucket = self._buckets.setdefault((key.name, name), Bucket(rate))
            if wait := bucket.wait_seconds(amount):
                raise ServiceError(
                    429, f"{rate:g} {name} a minute are what the key of {key.name} may ask for",
                    "rate_limit_exceeded", retry_after_seconds=wait,
                )  # fmt: skip
            bucket.take(amount)
        return key

    def _charge(self, key: Key, tokens: int) -> None:
        if key.tokens_per_minute is not None:
            self._buckets[key.name, "tokens"].take(tokens)

    def _same_site(self, scope: Scope, headers: dict[str, str]) -> None:
        """A browser sends what it knows of keys along with what other sites ask it to send, and
        without keys anybody's page could ask this machine's service."""
        origin = headers.get("origin")
        if origin and urlsplit(origin).netloc != headers.get("host", ""):
            raise ServiceError(403, "asked by another site's page", "cross_origin")
        if headers.get("sec-fetch-site") == "cross-site" and scope["method"] != "GET":
            raise ServiceError(403, "asked by another site's page", "cross_origin")
        if self._keys is None and not _is_local(headers.get("host", "")):
            raise ServiceError(403, "without keys, ask for localhost", "unknown_host")


class _Visit:
    """What is known of one request while it lasts."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self.headers = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in scope["headers"]
        }
        given = self.headers.get("x-request-id", "")
        self.id = given if _ID.fullmatch(given) else f"req-{secrets.token_hex(12)}"
        self.started = time.monotonic()
        self.key, self.status, self._path, self._send = "", 0, scope["path"], send

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            extra = [(b"x-request-id", self.id.encode()), *_HEADERS]
            message = {**message, "headers": [*message.get("headers", ()), *extra]}
        await self._send(message)

    async def fail(self, error: ServiceError) -> None:
        """Nothing can be said once an answer has begun."""
        if self.status:
            return
        payload = json.dumps(error.body).encode()
        headers = {
            "content-type": "application/json", "content-length": str(len(payload)),
            **error.headers,
        }  # fmt: skip
        if error.status == 401:
            scheme = "Basic" if self._path in PAGES else "Bearer"
            headers["www-authenticate"] = f'{scheme} realm="foresight"'
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        start: MutableMapping[str, Any] = {"type": "http.response.start", "status": error.status}
        await self.send({**start, "headers": raw})
        await self.send({"type": "http.response.body", "body": payload})


def _secret(header: str) -> str:
    """The key of a Bearer header, or the password of a Basic one."""
    scheme, _, rest = header.partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(rest, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return ""
    return ""


def _is_local(host: str) -> bool:
    try:
        return urlsplit(f"//{host}").hostname in ("127.0.0.1", "localhost", "::1")
    except ValueError:
        return False


def _bounded(receive: Receive, headers: dict[str, str], most: int) -> Receive:
    """Raises ServiceError 413 as soon as it is known that a body is too large."""
    told = headers.get("content-length", "0")
    if told.isdigit() and int(told) > most:
        raise ServiceError(413, f"a body of {int(told):,} bytes; at most {most:,}", "too_large")
    seen = 0

    async def bounded() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > most:
            raise ServiceError(413, f"the body has more than {most:,} bytes", "too_large")
        return message

    return bounded
