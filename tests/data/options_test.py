"""The dataclasses of options refuse values out of their range, in one line that names the key."""

import dataclasses
import re

import pytest

from rdd_jax.data.options import AugmentOptions, DataOptions
from rdd_jax.data.samplers import SamplerOptions


@pytest.mark.parametrize("options", [DataOptions, AugmentOptions, SamplerOptions])
def test_defaults_are_valid_and_frozen(options):
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(options(), dataclasses.fields(options)[0].name, 1)


@pytest.mark.parametrize(
    ("options", "values", "message"),
    [
        (DataOptions, {"loading": "strem"}, 'unknown data.loading "strem"; did you mean "stream"'),
        (DataOptions, {"workers": 257}, "data.workers must be in [0, 256] and data.image_size not negative; got 257"),
        (DataOptions, {"image_size": -1}, "data.image_size not negative; got 0 and -1"),
        (DataOptions, {"image_size": 10**5}, "data.image_size must be at most 10,000; got 100000"),
        (DataOptions, {"crop_share": 1.1}, "data.crop_share is a share in (0, 1], or 0 for the usual one; got 1.1"),
        (DataOptions, {"validation": 1.0}, "data.validation is a share in [0, 1); got 1.0"),
        (AugmentOptions, {"pad": -1}, "augment.pad must not be negative; got -1"),
        (AugmentOptions, {"pad": 1001}, "augment.pad must be at most 1,000; got 1001"),
        (AugmentOptions, {"rand_ops": -1}, "augment.rand_ops must not be negative; got -1"),
        (AugmentOptions, {"rand_magnitude": 31}, "augment.rand_magnitude must be at most 30; got 31"),
        (AugmentOptions, {"erase": 1.5}, "augment.erase is a probability in [0, 1]; got 1.5"),
        (AugmentOptions, {"mixup": -0.2}, "augment.mixup must not be negative; got -0.2"),
        (AugmentOptions, {"cutmix": float("inf")}, "augment.cutmix must be finite; got inf"),
        (SamplerOptions, {"kind": "rd"}, 'unknown sampler.kind "rd"'),
        (SamplerOptions, {"fraction": 0.0}, "sampler.fraction is a share in (0, 1]; got 0.0"),
        (SamplerOptions, {"start_fraction": 1.5}, "sampler.start_fraction is a share in (0, 1]; got 1.5"),
        (SamplerOptions, {"fraction": float("nan")}, "sampler.fraction must be finite; got nan"),
        (SamplerOptions, {"pace_epochs": 0}, "sampler.pace_epochs must be at least 1"),
        (SamplerOptions, {"candidates": 1}, "candidates at least 2"),
        (SamplerOptions, {"scoring_epochs": -1}, "scoring_epochs at least 0; got 100, 10 and -1"),
        (SamplerOptions, {"pace_epochs": 2**31}, "sampler.pace_epochs must be at most 2,147,483,647"),
    ],
)
def test_a_value_out_of_range_is_named(options, values, message):
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        options(**values)
    assert "\n" not in str(caught.value)
