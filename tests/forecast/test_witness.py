from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foresight.errors import UserError
from foresight.forecast import Registration, Subject, Witnesses, observe, register_stated, verify
from foresight.forecast.witness import read_timestamp, request_bytes, request_timestamp
from foresight.runs import read_json, sha256_file, sha256_text

openssl = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="openssl is absent: it plays the authority"
)
needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is absent")
CONFIG = """
[tsa]
default_tsa = mine
[mine]
serial = SERIAL
default_policy = 1.2.3.4.1
digests = sha256
signer_digest = sha256
accuracy = secs:1
"""


@dataclass
class Authority:
    """A time-stamping authority: openssl behind an HTTP server. `answer` overrides its answers."""

    folder: Path
    answer: bytes | None = None
    url: str = ""

    def reply(self, query: bytes) -> bytes:
        if self.answer is not None:
            return self.answer
        (self.folder / "query").write_bytes(query)
        run("openssl", "ts", "-reply", "-config", "tsa.cnf", "-queryfile", "query",
            "-signer", "cert.pem", "-inkey", "key.pem", "-out", "reply",
            cwd=self.folder)  # fmt: skip
        return (self.folder / "reply").read_bytes()


def run(*command: str, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def authority(tmp_path: Path) -> Iterator[Authority]:
    folder = tmp_path / "authority"
    folder.mkdir()
    (folder / "tsa.cnf").write_text(CONFIG.replace("SERIAL", str(folder / "serial")))
    run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out",
        "cert.pem", "-days", "2", "-subj", "/CN=authority", "-addext",
        "extendedKeyUsage=critical,timeStamping", cwd=folder)  # fmt: skip
    made = Authority(folder)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.headers["Content-Type"] == "application/timestamp-query"
            reply = made.reply(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    made.url = f"http://127.0.0.1:{server.server_port}/"
    yield made
    server.shutdown()
    server.server_close()


def state(
    registry: Path, name: str = "a", witnesses: Witnesses | None = None, now: datetime | None = None
) -> Registration:
    return register_stated(
        registry, name, Subject(name), "accuracy", 0.5, {"95": (0.4, 0.6)},
        witnesses=witnesses, now=now,
    )  # fmt: skip


@openssl
def test_openssl_confirms_the_stamp(authority: Authority, tmp_path: Path) -> None:
    """The whole way: our request, a real answer, and openssl's own verification of both."""
    made = state(tmp_path / "r", witnesses=Witnesses(authority.url))
    stamp = made.path.with_name(made.path.name + ".tsr")
    verdict = run("openssl", "ts", "-verify", "-data", str(made.path), "-in", str(stamp),
                  "-CAfile", str(authority.folder / "cert.pem"), cwd=tmp_path)  # fmt: skip
    assert "Verification: OK" in verdict
    digest, time = read_timestamp(stamp.read_bytes())
    assert digest == sha256_file(made.path)
    assert abs(datetime.now(UTC) - time) < timedelta(minutes=1)
    report = verify(tmp_path / "r")
    (remark,) = report.remarks
    assert report.holds and time.isoformat() in remark.message
    assert "signature is not checked" in remark.message and "openssl ts -verify" in remark.message


@openssl
def test_a_stamp_of_other_bytes_is_found(authority: Authority, tmp_path: Path) -> None:
    made = state(tmp_path / "r", witnesses=Witnesses(authority.url))
    other = request_timestamp(authority.url, sha256_text("other"))
    made.path.with_name(made.path.name + ".tsr").write_bytes(other)
    failures = verify(tmp_path / "r").failures
    assert [(one.check, one.file) for one in failures] == [("witness", "0001-a.json.tsr")]
    assert sha256_text("other") in failures[0].message


@openssl
def test_a_stamp_after_the_outcome_is_found(authority: Authority, tmp_path: Path) -> None:
    early = datetime(2020, 1, 1, tzinfo=UTC)
    state(tmp_path / "r", witnesses=Witnesses(authority.url), now=early)
    observe(tmp_path / "r", "a", 0.5, now=early + timedelta(days=1))
    (failure,) = verify(tmp_path / "r").failures
    assert failure.check == "order" and "stamped only after the outcome" in failure.message


@openssl
def test_without_its_stamp_nothing_is_registered(authority: Authority, tmp_path: Path) -> None:
    registry = tmp_path / "r"
    refusal = bytes.fromhex("30073005020102") + bytes.fromhex("3000")
    good = request_timestamp(authority.url, sha256_text("other"))
    for answer, message in (
        (b"<html>", "not a TimeStampResp in DER"),
        (refusal, r"refused \(PKIStatus 2\)"),
        (good, "of another digest"),
        (good[:-1], "not a TimeStampResp"),
    ):
        authority.answer = answer
        with pytest.raises(UserError, match=message):
            state(registry, witnesses=Witnesses(authority.url))
    for url, message in (
        ("http://127.0.0.1:1/", "no time stamp"),
        ("file:///etc/passwd", "expected an http or https address"),
        ("nonsense", "no time stamp"),
    ):
        with pytest.raises(UserError, match=message):
            state(registry, witnesses=Witnesses(url))
    assert not list(registry.glob("*.json*"))


def test_request_is_the_bytes_of_the_standard() -> None:
    """RFC 3161, 2.4.1, as `openssl ts -query -sha256 -cert -no_nonce` writes it."""
    digest = "ab" * 32
    expected = "30390201013031300d060960864801650304020105000420" + digest + "0101ff"
    assert request_bytes(digest).hex() == expected


@given(st.binary(max_size=80))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with pytest.raises(UserError):
        read_timestamp(data)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    folder = tmp_path / "repository"
    folder.mkdir()
    run("git", "init", "-q", cwd=folder)
    run("git", "config", "user.name", "A", cwd=folder)
    run("git", "config", "user.email", "a@example.org", cwd=folder)
    (folder / "unrelated.txt").write_text("staged, and none of our business")
    run("git", "add", "unrelated.txt", cwd=folder)
    return folder


@needs_git
def test_the_commit_holds_the_registration(repository: Path) -> None:
    registry = repository / "deep" / "predictions"
    state(registry, witnesses=Witnesses(git=True))
    state(registry, "b", Witnesses(git=True))
    named = read_json(registry / "0001-a.git.json")
    assert named["path"] == "deep/predictions/0001-a.json"
    shown = run("git", "show", "--name-only", "--format=%s", named["commit"], cwd=repository)
    assert shown.split("\n")[0] == "Register prediction 0001-a"
    assert set(shown.split()[3:]) == {
        "deep/predictions/0001-a.json", "deep/predictions/chain.jsonl"
    }  # fmt: skip
    report = verify(registry)
    assert report.holds and [one.file for one in report.remarks] == [
        "0001-a.git.json", "0002-b.git.json"
    ]  # fmt: skip
    assert named["commit"][:12] in report.remarks[0].message


@needs_git
def test_a_commit_of_other_bytes_is_found(repository: Path) -> None:
    registry = repository / "predictions"
    made = state(registry, witnesses=Witnesses(git=True))
    made.path.write_text(json.dumps(made.record))  # the same record in other white space
    (failure,) = verify(registry).failures
    assert (failure.check, failure.file) == ("witness", "0001-a.git.json")
    assert "holds other bytes" in failure.message
    beside = registry / "0001-a.git.json"
    for text, message in (
        ('{"commit": "' + "0" * 40 + '", "path": "x"}', "is not in this repository"),
        ('{"commit": "--help", "path": "x"}', "is no commit"),
        ('{"commit": 3}', "names no commit and path"),
        ("{", "names no commit and path"),
    ):
        beside.write_text(text)
        assert message in verify(registry).failures[0].message


@needs_git
def test_git_that_cannot_commit(repository: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not inside a git repository"):
        state(tmp_path / "outside", witnesses=Witnesses(git=True))
    run("git", "config", "--unset", "user.email", cwd=repository)
    run("git", "config", "user.useConfigOnly", "true", cwd=repository)
    with pytest.raises(UserError, match="does not know who commits"):
        state(repository / "p", witnesses=Witnesses(git=True))
    assert not list(repository.rglob("0*.json"))
    run("git", "config", "user.email", "a@example.org", cwd=repository)
    (repository / ".gitignore").write_text("p/\n")
    with pytest.raises(UserError, match="registered, but git refused"):
        state(repository / "p", witnesses=Witnesses(git=True))
    assert verify(repository / "p").holds
