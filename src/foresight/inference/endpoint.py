"""One OpenAI-compatible HTTP endpoint: connections, retries, the key, and what went wrong.

Plain `http.client` under worker threads: on two cores it costs a third of the CPU time of the
usual async clients (`LOG.md`), and a request in flight can be cut off by shutting its socket.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies, proxy_bypass

from foresight.errors import UserError
from foresight.inference.rate_limit import RateLimiter

CONNECT_SECONDS = 10.0
FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS = 0.5, 60.0
LONGEST_REST_SECONDS = 600.0
"""An endpoint that asks to be left alone for longer is given up."""
TRANSIENT = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529})


class EndpointError(Exception):
    """What an endpoint answered instead of an answer.

    `status`: of HTTP, 0 if nothing came back. `param`: the refused parameter, if it tells.
    `transient`: may go away by itself. `unreachable`: nobody listens there.
    """

    def __init__(
        self,
        message: str,
        status: int = 0,
        param: str = "",
        transient: bool = False,
        unreachable: bool = False,
        rest_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.param = status, param
        self.transient, self.unreachable = transient, unreachable
        self.rest_seconds = rest_seconds


class Cancelled(Exception):  # noqa: N818 - a decision of the caller, no error
    """The caller gave up."""


class Endpoint:
    """Asks `base_url`, as often as it takes. The key lives in the environment variable `key_env`
    and is blacked out of every message; without one, none is sent. Redirects are not followed:
    the key goes to nobody else. Raises UserError for a URL that cannot be one.
    """

    def __init__(
        self,
        base_url: str,
        key_env: str,
        timeout_seconds: float,
        max_retries: int,
        limiter: RateLimiter,
        seed: int = 0,
    ) -> None:
        self.url = _checked(base_url)
        self.key_env = key_env
        self._key = os.environ.get(key_env, "").strip()
        if not self._key.isascii() or not self._key.isprintable():
            raise UserError(f"environment variable {key_env}: holds signs that no key has")
        self.timeout_seconds, self.max_retries = timeout_seconds, max_retries
        self.limiter = limiter
        self._seed = seed
        self._tls = ssl.create_default_context() if self.url.scheme == "https" else None
        self._proxy = _proxy_for(self.url)
        self._idle: list[http.client.HTTPConnection] = []
        self._busy: set[http.client.HTTPConnection] = set()
        self._lock = threading.Lock()
        self._cancelled = threading.Event()

    @property
    def has_key(self) -> bool:
        return bool(self._key)

    def resume(self) -> None:
        """Take back an earlier `cancel`."""
        self._cancelled.clear()

    def cancel(self) -> None:
        """Cut off everything in flight: whoever waits for it gets `Cancelled`."""
        self._cancelled.set()
        with self._lock:
            for connection in self._busy:
                if connection.sock is not None:
                    with suppress(OSError):  # it was just closed
                        connection.sock.shutdown(socket.SHUT_RDWR)

    def post(
        self, path: str, body: Mapping[str, Any], tokens: int, label: str = "", patient: bool = True
    ) -> dict[str, Any]:
        """The JSON object that answers `body`, asked again while errors are transient.

        `tokens`: what the request is counted as until its answer tells. `label` names the request
        for the jitter of its retries. Not `patient`: an endpoint where nobody listens is given up
        at once. Raises EndpointError, Cancelled.
        """
        payload = json.dumps(body, allow_nan=False).encode()
        for attempt in range(self.max_retries + 1):
            place = self.limiter.reserve(tokens)
            self._wait(place.start_seconds - self.limiter.clock())
            try:
                answer = self.ask("POST", path, payload)
            except EndpointError as error:
                self.limiter.settle(place, 0)
                hopeless = not error.transient or (error.unreachable and not patient)
                if hopeless or attempt == self.max_retries:
                    raise
                self._rest(error, label, attempt)
                continue
            usage = answer.get("usage")
            if isinstance(usage, dict) and isinstance(usage.get("total_tokens"), int):
                self.limiter.settle(place, usage["total_tokens"])
            return answer
        raise AssertionError("max_retries is negative")

    def _rest(self, error: EndpointError, label: str, attempt: int) -> None:
        """Exponential back-off with jitter, at least as long as the endpoint asks for."""
        jitter = random.Random(f"{self._seed}/{label}/{attempt}").uniform(0.5, 1.0)
        seconds = jitter * min(LONGEST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2**attempt)
        if error.rest_seconds is not None:
            if error.rest_seconds > LONGEST_REST_SECONDS:
                raise error
            self.limiter.pause(error.rest_seconds)
            # The pause holds everybody; the jitter spreads those who were turned away.
            seconds = error.rest_seconds + jitter * FIRST_DELAY_SECONDS
        self._wait(seconds)

    def _wait(self, seconds: float) -> None:
        if self._cancelled.wait(max(0.0, seconds)):
            raise Cancelled

    def ask(self, method: str, path: str, payload: bytes | None = None) -> dict[str, Any]:
        """One exchange, not repeated. Raises EndpointError, Cancelled."""
        started = time.monotonic()
        try:
            status, headers, data = self._exchange(method, path, payload)
        except (OSError, http.client.HTTPException) as error:
            if self._cancelled.is_set():
                raise Cancelled from None
            raise self._broken(error, time.monotonic() - started) from None
        return self._read(status, headers, data)

    def _exchange(
        self, method: str, path: str, payload: bytes | None
    ) -> tuple[int, Mapping[str, str], bytes]:
        while True:
            connection, fresh = self._take()
            try:
                connection.request(method, self._target(path), payload, self._headers())
                response = connection.getresponse()
                data = response.read()
            except (ConnectionError, http.client.HTTPException):
                self._drop(connection)
                # The server may close an idle connection just as it is used again.
                if fresh or self._cancelled.is_set():
                    raise
                continue
            except BaseException:
                self._drop(connection)
                raise
            with self._lock:
                self._busy.discard(connection)
                # `getresponse` has closed it already if the server does not keep it.
                if connection.sock is not None:
                    self._idle.append(connection)
            return response.status, {k.lower(): v for k, v in response.getheaders()}, data

    def _take(self) -> tuple[http.client.HTTPConnection, bool]:
        """A connection, and whether it is a new one."""
        with self._lock:
            fresh = not self._idle
            connection = self._idle.pop() if self._idle else self._connection()
            self._busy.add(connection)
        if fresh:
            try:
                connection.connect()
                connection.sock.settimeout(self.timeout_seconds)
            except BaseException:
                self._drop(connection)
                raise
        # Cancelled between the start of the exchange and now: `cancel` saw no socket.
        if self._cancelled.is_set():
            self._drop(connection)
            raise Cancelled
        return connection, fresh

    def _drop(self, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            self._busy.discard(connection)
        connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        at = self._proxy or self.url
        host, port = at.hostname or "", at.port
        if self._tls is None:
            return http.client.HTTPConnection(host, port, timeout=CONNECT_SECONDS)
        connection = http.client.HTTPSConnection(
            host, port, timeout=CONNECT_SECONDS, context=self._tls
        )
        if self._proxy is not None:
            connection.set_tunnel(self.url.hostname or "", self.url.port or 443)
        return connection

    def _target(self, path: str) -> str:
        whole = self._tls is None and self._proxy is not None
        return (self.url.geturl() if whole else self.url.path) + path

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        return headers | ({"Authorization": f"Bearer {self._key}"} if self._key else {})

    def redacted(self, text: str) -> str:
        return text.replace(self._key, "[key]") if self._key else text

    def _broken(self, error: Exception, seconds: float) -> EndpointError:
        """What a failed exchange is called."""
        if isinstance(error, ssl.SSLCertVerificationError):
            return EndpointError(
                f"its certificate is not trusted ({error.verify_message}); the environment "
                f"variable SSL_CERT_FILE may name the file of an authority of your own"
            )
        if isinstance(error, TimeoutError):
            return EndpointError(f"no answer within {seconds:.1f} seconds", transient=True)
        if isinstance(error, http.client.IncompleteRead):
            return EndpointError("the answer broke off", transient=True)
        words = self.redacted(str(error) or type(error).__name__)
        nobody = isinstance(error, ConnectionRefusedError | socket.gaierror)
        return EndpointError(f"no connection ({words})", transient=True, unreachable=nobody)

    def _read(self, status: int, headers: Mapping[str, str], data: bytes) -> dict[str, Any]:
        try:
            value = json.loads(data)
        except (json.JSONDecodeError, UnicodeDecodeError):
            value = None
        error = value.get("error") if isinstance(value, dict) else None
        if status == 200 and isinstance(value, dict) and not error:
            return value
        if status == 200 and not error:
            raise EndpointError("the answer is no JSON object", status, transient=True)
        if status == 200 and isinstance(error, dict):
            # Some gateways wrap the error of who is behind them in a 200.
            code = error.get("code")
            status = code if isinstance(code, int) else status
        words, param, code = _said(value, data)
        if 300 <= status < 400:
            words = (
                f"redirects to {headers.get('location', 'nowhere')}: use that URL if you trust it"
            )
        spent = code == "insufficient_quota"
        raise EndpointError(
            self.redacted(f"{status}: {words}" if words else str(status)),
            status,
            param,
            transient=status in TRANSIENT and not spent,
            rest_seconds=_rest_seconds(headers) if status in (429, 503) else None,
        )


def _checked(base_url: str) -> SplitResult:
    """The URL up to the version, without a slash at its end; `/v1` is added to a bare host."""
    url = urlsplit(base_url)
    try:
        sound = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        sound = False
    if not sound:
        raise UserError(
            f"{base_url}: no URL of an endpoint; write it like http://localhost:8000/v1"
        )
    if url.username or url.password or url.query or url.fragment:
        raise UserError(
            f"{url.scheme}://{url.hostname}{url.path}: the URL must hold no user, password, query "
            f"or fragment; a key belongs into the environment"
        )
    path = url.path.rstrip("/")
    for end in ("/chat/completions", "/completions"):
        path = path.removesuffix(end)
    return url._replace(path=path or "/v1")


def _proxy_for(url: SplitResult) -> SplitResult | None:
    """The proxy that the environment names; none for this machine itself."""
    host = url.hostname or ""
    name = getproxies().get(url.scheme)
    if name is None or host in ("localhost", "127.0.0.1", "::1") or proxy_bypass(host):
        return None
    return urlsplit(name if "//" in name else f"http://{name}")


def _said(value: Any, data: bytes) -> tuple[str, str, str]:
    """(message, parameter, code) of an error in any of the shapes that are met."""
    error = value.get("error", value) if isinstance(value, dict) else value
    if isinstance(error, dict):
        words = error.get("message") or error.get("detail") or error
        words = words if isinstance(words, str) else json.dumps(words)
        return words[:500], str(error.get("param") or ""), str(error.get("code") or "")
    words = error if isinstance(error, str) else data.decode(errors="replace")
    return " ".join(words.split())[:500], "", ""


def _rest_seconds(headers: Mapping[str, str]) -> float | None:
    """Seconds of the retry-after header: a number, or a date."""
    if "retry-after-ms" in headers:
        try:
            return max(0.0, float(headers["retry-after-ms"]) / 1000)
        except ValueError:
            pass
    text = headers.get("retry-after")
    if text is None:
        return None
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return None
