"""The options of optimizer, teacher cache and mining refuse values out of their range, and name the key."""

import dataclasses
import re

import pytest

from rdd_jax.steps.mining import MiningOptions
from rdd_jax.steps.optimizer import RecipeOptions
from rdd_jax.steps.teacher_cache import TeacherCacheOptions


@pytest.mark.parametrize("options", [MiningOptions, RecipeOptions, TeacherCacheOptions])
def test_defaults_are_valid_and_frozen(options):
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(options(), dataclasses.fields(options)[0].name, 1)


@pytest.mark.parametrize(
    ("options", "values", "message"),
    [
        (RecipeOptions, {"learning_rate": 0.0}, "learning_rate must be above 0; got 0.0"),
        (RecipeOptions, {"learning_rate": float("inf")}, "learning_rate must be finite; got inf"),
        (RecipeOptions, {"learning_rate_factor": -1.0}, "learning_rate_factor must be above 0; got -1.0"),
        (RecipeOptions, {"warmup_epochs": -0.5}, "warmup_epochs must not be negative; got -0.5"),
        (RecipeOptions, {"weight_decay": -1e-4}, "weight_decay must not be negative; got -0.0001"),
        (RecipeOptions, {"momentum": 1.0}, "momentum must be in [0, 1); got 1.0"),
        (RecipeOptions, {"milestones": (0.5, 150)}, "milestones are shares of the epochs, as in (0.5, 0.75); got"),
        (RecipeOptions, {"milestones": (1.0,)}, "milestones are shares of the epochs"),
        (TeacherCacheOptions, {"cache": "view"}, 'unknown teacher.cache "view"; did you mean "views"'),
        (TeacherCacheOptions, {"cache_dtype": "float8"}, 'unknown teacher.cache_dtype "float8"'),
        (TeacherCacheOptions, {"cache_gigabytes": float("nan")}, "teacher.cache_gigabytes must be finite"),
        (MiningOptions, {"kind": "always"}, 'unknown mining.kind "always"'),
        (MiningOptions, {"start_epoch": -1}, "mining.start_epoch must not be negative"),
        (MiningOptions, {"epochs": 0}, "mining.epochs at least 1; got 1 and 0 (--config.mining.kind=once mines but"),
        (MiningOptions, {"epochs": 10**7}, "mining.epochs must be at most 1,000,000; got 10000000"),
        (MiningOptions, {"threshold": 0.0}, "mining.threshold is a share in (0, 1]; got 0.0"),
        (MiningOptions, {"probe": 1}, "mining.probe must be in [2, 4096]; got 1"),
        (MiningOptions, {"probe": 5000}, "mining.probe must be in [2, 4096]; got 5000"),
        (MiningOptions, {"ranks_gigabytes": -1.0}, "mining.ranks_gigabytes must not be negative; got -1.0"),
    ],
)
def test_a_value_out_of_range_is_named(options, values, message):
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        options(**values)
    assert "\n" not in str(caught.value)
