"""The file that keeps the teacher's outputs for augmented images, and by what it is named."""

import numpy as np
import pytest

from rdd_jax.core.errors import UserError
from rdd_jax.steps import teacher_cache
from rdd_jax.steps.teacher_cache import TeacherOutputCache

SIZES = {"num_examples": 7, "num_augmentations": 9, "num_values": 5}
IMAGES, AUGMENTATIONS = np.array([6, 0, 3], np.int32), np.array([8, 0, 4], np.int32)
VALUES = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)


@pytest.fixture(params=teacher_cache.DTYPES)
def dtype(request):
    return request.param


@pytest.fixture
def path(tmp_path):
    return tmp_path / "outputs" / "cache.bin"


def test_what_is_written_can_be_read_again(path, dtype):
    cache = TeacherOutputCache(path, **SIZES, dtype=dtype)
    assert not cache.read(IMAGES, AUGMENTATIONS)[1].any()
    cache.write(IMAGES[:2], AUGMENTATIONS[:2], VALUES[:2])
    for reader in (cache, TeacherOutputCache(path, **SIZES, dtype=dtype)):
        values, known = reader.read(IMAGES, AUGMENTATIONS)
        assert values.dtype == np.float32
        np.testing.assert_array_equal(values[:2], VALUES[:2].astype(dtype))
        np.testing.assert_array_equal(known, [True, True, False])
    assert path.stat().st_size == teacher_cache.nbytes(**SIZES, dtype=dtype)


def test_every_augmentation_of_every_image_has_its_own_row(path):
    cache = TeacherOutputCache(path, **SIZES, dtype="float32")
    every = np.divmod(np.arange(63), 9)
    values = np.arange(63 * 5, dtype=np.float32).reshape(63, 5)
    cache.write(*every, values)
    read, known = cache.read(*every)
    assert known.all()
    np.testing.assert_array_equal(read, values)


@pytest.mark.parametrize("byte", [0, 19, 20, 23])
def test_a_damaged_row_is_unknown_and_its_neighbours_are_not(path, byte):
    cache = TeacherOutputCache(path, **SIZES, dtype="float32")
    every = np.divmod(np.arange(63), 9)
    cache.write(*every, np.ones((63, 5), np.float32))
    with path.open("r+b") as file:
        file.seek(30 * 24 + byte)
        before = file.read(1)
        file.seek(30 * 24 + byte)
        file.write(bytes([before[0] ^ 1]))
    np.testing.assert_array_equal(cache.read(*every)[1], np.arange(63) != 30)


def test_a_row_of_zeros_is_known(path):
    cache = TeacherOutputCache(path, **SIZES, dtype="float32")
    cache.write(IMAGES[:1], AUGMENTATIONS[:1], np.zeros((1, 5), np.float32))
    np.testing.assert_array_equal(cache.read(IMAGES, AUGMENTATIONS)[1], [True, False, False])


def test_a_number_too_large_for_float16_is_refused(path):
    cache = TeacherOutputCache(path, **SIZES, dtype="float16")
    with pytest.raises(UserError, match="cache_dtype=float32"):
        cache.write(IMAGES[:1], AUGMENTATIONS[:1], np.full((1, 5), 1e6, np.float32))
    assert not cache.read(IMAGES, AUGMENTATIONS)[1].any()


def test_a_folder_that_cannot_be_made_is_reported(tmp_path):
    (tmp_path / "outputs").touch()
    with pytest.raises(UserError, match="make room"):
        TeacherOutputCache(tmp_path / "outputs" / "cache.bin", **SIZES, dtype="float32")


def test_a_file_is_named_by_all_that_its_rows_depend_on(tmp_path):
    arrays = {"kernel": np.ones((2, 2)), "bias": np.zeros(2)}
    settings = {"augment": {"pad": 1, "flip": False}, "num_augmentations": 9}
    path = teacher_cache.cache_path(tmp_path, "resnet8", arrays, **settings)
    assert path == teacher_cache.cache_path(tmp_path, "resnet8", dict(arrays), **settings)
    others = [
        teacher_cache.cache_path(tmp_path, "resnet8", arrays | {"bias": np.array([0.0, 1e-7])}, **settings),
        teacher_cache.cache_path(
            tmp_path, "resnet8", {"kernel": arrays["kernel"], "scale": arrays["bias"]}, **settings
        ),
        teacher_cache.cache_path(tmp_path, "resnet8", arrays, **settings | {"augment": {"pad": 1, "flip": True}}),
        teacher_cache.cache_path(tmp_path, "resnet20", arrays, **settings),
    ]
    assert len({path, *others}) == 5


def test_a_truncated_file_is_reported(path):
    cache = TeacherOutputCache(path, **SIZES, dtype="float32")
    path.write_bytes(b"short")
    with pytest.raises(UserError, match="delete it"):
        cache.read(IMAGES, AUGMENTATIONS)
