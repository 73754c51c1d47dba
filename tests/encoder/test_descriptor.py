"""The light frame descriptor: shape, scale, and what it must not depend on."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from cootmart.demo.dataset import Item, story_of
from cootmart.demo.render import frames
from encoder.features.descriptor import BLOCKS, DIM, FRAMES_AT_ONCE, describe

STILL = [name for name in BLOCKS if name not in ("motion", "change")]


def clip(number: int = 0) -> np.ndarray:
    return np.stack([frame for frame, _ in frames(story_of(Item("train", number), 0))])


def disc(x: int, y: int, radius: int = 14, rgb: tuple[int, int, int] = (220, 30, 30)) -> np.ndarray:
    rows, columns = np.mgrid[:96, :96]
    picture = np.full((96, 96, 3), 225, np.uint8)
    picture[np.hypot(rows - y, columns - x) < radius] = rgb
    return picture[None]


def blocks(values: np.ndarray, names: list[str]) -> np.ndarray:
    return np.concatenate([values[:, BLOCKS[name]] for name in names], axis=1)


def test_shape_type_and_bounds() -> None:
    values = describe(clip())
    assert values.dtype == np.float32
    assert values.shape == (len(clip()), DIM)
    assert 200 <= DIM <= 500
    assert np.isfinite(values).all()
    assert np.abs(values).max() < 20


def test_every_block_has_about_unit_variance() -> None:
    values = np.concatenate([describe(clip(number)) for number in range(30)])
    for name, block in BLOCKS.items():
        assert 0.6 < np.sqrt(values[:, block].var(axis=0).mean()) < 1.6, name


def test_pictures_without_anything_are_finite() -> None:
    for grey in (0, 128, 255):
        assert np.isfinite(describe(np.full((3, 96, 96, 3), grey, np.uint8))).all()
    noise = np.random.default_rng(0).integers(0, 256, (3, 96, 96, 3), dtype=np.uint8)
    assert np.isfinite(describe(noise)).all()


def test_no_frames() -> None:
    assert describe(np.zeros((0, 96, 96, 3), np.uint8)).shape == (0, DIM)


@pytest.mark.parametrize("frames", [np.zeros((2, 96, 96, 3), np.float32), np.zeros((96, 96, 3), np.uint8)])
def test_another_shape_or_type_is_refused(frames: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"expected uint8 \(T, H, W, 3\)"):
        describe(frames)


def test_frame_blocks_do_not_depend_on_speed_or_neighbours() -> None:
    video = clip()
    values = describe(video)
    assert np.array_equal(blocks(describe(video[::3]), STILL), blocks(values, STILL)[::3])
    assert np.array_equal(blocks(describe(video[::-1]), STILL), blocks(values, STILL)[::-1])


def test_a_still_picture_does_not_move() -> None:
    values = describe(np.repeat(clip()[20:21], 4, axis=0))
    assert not blocks(values, ["motion", "change"]).any()
    assert (values == values[0]).all()


def test_long_videos_are_described_as_in_one_piece() -> None:
    video = np.concatenate([clip(0), clip(1), clip(2)])
    assert len(video) > FRAMES_AT_ONCE
    start = FRAMES_AT_ONCE - 5
    np.testing.assert_array_equal(describe(video)[start + 1 :], describe(video[start:])[1:])


def test_the_size_of_the_picture_hardly_matters() -> None:
    video = clip()[10:14]
    large = np.stack([np.asarray(Image.fromarray(f).resize((288, 288), Image.Resampling.BICUBIC)) for f in video])
    near, far = describe(large), describe(clip(5)[10:14])
    original = describe(video)
    assert np.linalg.norm(near - original) < 0.35 * np.linalg.norm(far - original)


def test_form_does_not_depend_on_place_nor_place_on_colour() -> None:
    left, right, blue = (describe(disc(*args)) for args in ((25, 60), (70, 30), (25, 60, 14, (30, 30, 220))))
    hues = [values[0, BLOCKS["hues"]].reshape(12, 12) for values in (left, right, blue)]
    red, same, other = hues[0][0], hues[1][0], hues[2][8]
    form = [0, *range(3, 12)]
    np.testing.assert_allclose(red[form], same[form], atol=0.05)
    np.testing.assert_allclose(red, other, atol=0.05)
    assert abs(red[1] - same[1]) > 1
    assert abs(red[2] - same[2]) > 1


def test_motion_tells_the_direction_of_one_colour() -> None:
    away = describe(np.concatenate([disc(30, 50), disc(40, 50)]))[1, BLOCKS["motion"]].reshape(12, 4)
    back = describe(np.concatenate([disc(40, 50), disc(30, 50)]))[1, BLOCKS["motion"]].reshape(12, 4)
    assert away[0, 1] > 1
    assert back[0, 1] < -1
    assert not away[1:].any()
