"""Banded matrices against dense ones, and the adjoint against autograd."""

import pytest
import torch
import torch.nn.functional as F

from weakshot_seg.losses.resize import BandedMatrix, LinearResize


@pytest.mark.parametrize("rows", [1, 3, 8, 50])
@pytest.mark.parametrize("size", [(40, 10), (41, 10), (10, 40), (7, 1), (1, 7), (12, 12)])
def test_products_are_those_of_the_dense_matrix(size: tuple[int, int], rows: int) -> None:
    matrix = F.interpolate(torch.eye(size[1], dtype=torch.float64)[None], size[0], mode="linear")[0].T
    x = torch.randn(2, 3, size[1], 5, dtype=torch.float64)
    for dense, operand in ((matrix, x), (matrix.T, matrix @ x), (torch.zeros_like(matrix), x)):
        torch.testing.assert_close(BandedMatrix.of(dense, rows) @ operand, dense @ operand)


def test_zeros_are_passed_over() -> None:
    matrix = F.interpolate(torch.eye(80)[None], 320, mode="linear")[0].T
    assert BandedMatrix.of(matrix, 16).blocks.numel() < 0.1 * matrix.numel()


def test_adjoint_is_the_gradient() -> None:
    resize = LinearResize.of(torch.rand(7, 3, dtype=torch.float64), torch.rand(9, 4, dtype=torch.float64))
    x = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    gradient = torch.randn(2, 7, 9, dtype=torch.float64)
    (expected,) = torch.autograd.grad(resize(x), x, gradient)
    torch.testing.assert_close(resize.adjoint(gradient), expected)
