"""Pictures of discs and rods: the covered area is that of the shape."""

from __future__ import annotations

import numpy as np
import pytest

from latentmd.systems.toy.drawing import SIZE, Canvas


def test_a_disc_covers_its_area() -> None:
    canvas = Canvas(1, (0.0, 0.0), 1.0)
    canvas.disc(np.array([[0.1, -0.2]]), 0.4, 0.5)
    assert canvas.picture.max() == pytest.approx(0.5)
    assert canvas.picture.sum() * (2 / SIZE) ** 2 == pytest.approx(0.5 * np.pi * 0.4**2, rel=0.01)


def test_a_rod_covers_its_area_and_the_brightest_shape_shows() -> None:
    canvas = Canvas(1, (0.0, 0.0), 1.0)
    canvas.rod(np.array([[-0.5, 0.0]]), np.array([[0.5, 0.0]]), 0.1)
    area = canvas.picture.sum() * (2 / SIZE) ** 2
    assert area == pytest.approx(1.0 * 0.2 + np.pi * 0.1**2, rel=0.03)  # round ends
    canvas.disc(np.array([[0.0, 0.0]]), 0.05, 0.3)
    assert canvas.picture.sum() * (2 / SIZE) ** 2 == pytest.approx(area)


def test_up_is_row_zero() -> None:
    canvas = Canvas(1, (0.0, 0.0), 1.0)
    canvas.disc(np.array([[0.0, 0.8]]), 0.1)
    assert canvas.picture[0, : SIZE // 2].sum() > 0 == canvas.picture[0, SIZE // 2 :].sum()
