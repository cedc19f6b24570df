"""Packed and plain matrices multiply alike."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from foresight.inference import matrix
from foresight.inference.matrix import Matrix, _step

LARGE = (384, 512)


@pytest.mark.parametrize("rows", [1, 3, 16, 17, 200])
@pytest.mark.parametrize("shape", [LARGE, (512, 384), (24, 16), (1, 200_000)])
def test_it_is_the_product(shape: tuple[int, int], rows: int) -> None:
    torch.manual_seed(0)
    weight, x = torch.randn(shape), torch.randn(rows, shape[1])
    found = Matrix(weight)(x)
    exact = F.linear(x.double(), weight.double())
    assert found.dtype == torch.float32
    assert found.shape == exact.shape
    # Rounding of sums of fan_in terms of size about one.
    assert (found - exact).abs().max() < 2e-6 * shape[1] ** 0.5 * 10


def test_large_matrices_of_float32_are_packed() -> None:
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        pytest.skip("this build of torch has no packed products")
    assert Matrix(torch.randn(LARGE))._weight.is_mkldnn
    assert not Matrix(torch.randn(24, 16))._weight.is_mkldnn


@pytest.mark.parametrize("rows", [1, 40])
def test_bfloat16_is_packed_too_and_stays_bfloat16(rows: int) -> None:
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pytest.skip("this processor has no bfloat16 products")
    torch.manual_seed(0)
    weight, x = torch.randn(LARGE).bfloat16(), torch.randn(rows, LARGE[1]).bfloat16()
    packed = Matrix(weight)
    assert packed._weight.is_mkldnn
    found = packed(x)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found, F.linear(x.float(), weight.float()).bfloat16())


def test_a_build_without_packed_products_uses_plain_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    class Bare:
        """`torch.ops` of a build without oneDNN."""

        mkldnn = object()

    weight, x = torch.randn(LARGE), torch.randn(4, LARGE[1])
    monkeypatch.setattr(matrix.torch, "ops", Bare)
    plain = Matrix(weight)
    assert not plain._weight.is_mkldnn
    assert torch.equal(plain(x), F.linear(x, weight))


def test_bytes_are_those_of_the_weights() -> None:
    assert Matrix(torch.randn(LARGE)).nbytes == 4 * 384 * 512
    assert Matrix(torch.randn(LARGE).bfloat16()).nbytes == 2 * 384 * 512


def test_few_numbers_of_rows_are_prepared() -> None:
    filled = {rows: rows + -rows % _step(rows) for rows in range(1, 1025)}
    assert len(set(filled.values())) == 64
    assert all(rows <= more <= 1.125 * rows for rows, more in filled.items())


def test_a_product_is_asked_for_filled_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = Matrix(torch.ones(LARGE))
    if not matrix._packed:
        pytest.skip("this build packs nothing")
    asked: list[int] = []
    pad = torch.nn.functional.pad

    def noted(x: torch.Tensor, *how: object) -> torch.Tensor:
        made: torch.Tensor = pad(x, *how)  # type: ignore[arg-type]
        asked.append(len(made))
        return made

    monkeypatch.setattr(torch.nn.functional, "pad", noted)
    assert matrix(torch.ones(208, LARGE[1])).shape == (208, LARGE[0]) and not asked
    assert matrix(torch.ones(201, LARGE[1])).shape == (201, LARGE[0]) and asked == [208]
