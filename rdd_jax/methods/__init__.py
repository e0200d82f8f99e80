"""Distillation methods: factories of `Distiller` values, by name and in weighted sums."""

from rdd_jax.methods.at import at
from rdd_jax.methods.cc import cc
from rdd_jax.methods.ce import ce
from rdd_jax.methods.crd import crd
from rdd_jax.methods.fitnets import fitnets
from rdd_jax.methods.from_loss import from_loss
from rdd_jax.methods.kd import kd
from rdd_jax.methods.nst import nst
from rdd_jax.methods.pkt import pkt
from rdd_jax.methods.rdd import rdd
from rdd_jax.methods.rdx_triplet import rdx_triplet
from rdd_jax.methods.registry import LABELS_ALONE, METHODS, RDD_OBJECTIVE, create, from_options, label, options
from rdd_jax.methods.rkd import rkd
from rdd_jax.methods.rrd import rrd
from rdd_jax.methods.sp import sp
from rdd_jax.methods.vid import vid
from rdd_jax.methods.weighted_sum import weighted_sum

__all__ = [
    "LABELS_ALONE",
    "METHODS",
    "RDD_OBJECTIVE",
    "at",
    "cc",
    "ce",
    "crd",
    "create",
    "fitnets",
    "from_loss",
    "from_options",
    "kd",
    "label",
    "nst",
    "options",
    "pkt",
    "rdd",
    "rdx_triplet",
    "rkd",
    "rrd",
    "sp",
    "vid",
    "weighted_sum",
]
