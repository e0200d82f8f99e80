"""The keys of a configuration that training a teacher does not read."""

from rdd_jax.data import samplers

# What no teacher's run reads must not tell two teachers apart.
UNREAD_BY_TEACHERS = {
    "teacher": {
        **{"name": "", "checkpoint": "", "seed": 0, "epochs": 1, "learning_rate": 1.0},
        **{"cache": "none", "cache_dtype": "float32", "cache_gigabytes": 4.0},
    },
    "refresh": {
        **{"kind": "every", "start_epoch": 1, "epochs": 5},
        **{"threshold": 0.5, "probe": 1024, "ranks_gigabytes": 1.0},
    },
    "sampler": samplers.options(),
    "pair": "",
    "eval_every_epochs": 1,
    "checkpoint_every_epochs": 1.0,
    "keep_all_checkpoints": False,
    "steps_per_call": 0,
}
