from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foresight.errors import UserError
from foresight.forecast.events import MAX_RECORD, crc32c, read_events
from tests.forecast.event_files import golden, record, scalar, varint, write_events


def test_files_of_tensorboard_itself(tmp_path: Path) -> None:
    scalars, hparams = (read_events(path) for path in golden(tmp_path))
    assert scalars.scalars == {
        "val/loss": [(100, 3.25), (200, 2.5)],
        "tokens": [(200, 2e9)],
        "wide": [(7, 1 / 3)],
    }
    assert not scalars.torn and not scalars.hparams
    assert hparams.scalars == {"hp": [(0, 1.0)]}
    wanted = {"n_params": 1.5e8, "lr": 0.001, "name": "a", "flag": True, "seed": 3}
    assert hparams.hparams == wanted


def test_checksum_has_the_value_of_the_standard() -> None:
    assert crc32c(b"123456789") == 0xE3069283  # the check value of CRC-32C
    assert crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720, B.4: 32 bytes of zeroes


def test_a_torn_tail_keeps_what_came_before(tmp_path: Path) -> None:
    whole = golden(tmp_path)[0].read_bytes()
    path = tmp_path / "events.out.tfevents.torn"
    seen = set()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        found = read_events(path)
        seen.add((found.torn, len(found.scalars)))
        assert found.scalars.get("val/loss", [(100, 3.25)])[0] == (100, 3.25)
    assert {(True, 0), (True, 1), (False, 1), (True, 3)} <= seen


def test_every_flipped_byte_is_found(tmp_path: Path) -> None:
    """All records here hold scalars: no byte of them may change unseen."""
    whole = write_events(tmp_path / "a.tfevents", {"loss": [(1, 3.0), (2, 2.5)]}).read_bytes()
    path = tmp_path / "b.tfevents"
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(UserError, match=r"b\.tfevents, byte \d+: (?:not a TF|damaged)"):
            read_events(path)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60))
def test_any_message_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, m: bytes) -> None:
    """Right checksums around arbitrary bytes: a message or a UserError, never a crash."""
    path = tmp_path_factory.getbasetemp() / "any.tfevents"
    path.write_bytes(record(m) + record(b"\x2a" + varint(len(m)) + m) + scalar("loss", 2.0, 1))
    try:
        assert read_events(path).scalars["loss"][-1] == (1, 2.0)
    except UserError as error:
        assert "not an Event message" in str(error)


def test_a_field_that_ends_behind_its_message_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.tfevents"
    path.write_bytes(record(b"\x2a\x7f"))
    with pytest.raises(UserError, match=r"byte 0: not an Event message"):
        read_events(path)


def test_pictures_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "x.tfevents"
    path.write_bytes(record(bytes(MAX_RECORD + 1)) + scalar("loss", 2.0, 300))
    assert read_events(path).scalars == {"loss": [(300, 2.0)]}


def test_no_file_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        read_events(tmp_path)
