"""Distillation methods: factories of `Distiller` values, by name and in weighted sums.

Every method is one file and one line here. The order of the lines is that of `METHODS`, of configurations and of names
of runs. The published weights are in `configs/`.
"""

# isort: skip_file
from rdd_jax.methods.ce import ce as ce
from rdd_jax.methods.kd import kd as kd
from rdd_jax.methods.dkd import dkd as dkd
from rdd_jax.methods.dist import dist as dist
from rdd_jax.methods.ttm import ttm as ttm
from rdd_jax.methods.nkd import nkd as nkd
from rdd_jax.methods.rld import rld as rld
from rdd_jax.methods.ps_kd import ps_kd as ps_kd
from rdd_jax.methods.fitnets import fitnets as fitnets
from rdd_jax.methods.at import at as at
from rdd_jax.methods.nst import nst as nst
from rdd_jax.methods.pkt import pkt as pkt
from rdd_jax.methods.sp import sp as sp
from rdd_jax.methods.cc import cc as cc
from rdd_jax.methods.vid import vid as vid
from rdd_jax.methods.rkd import rkd as rkd
from rdd_jax.methods.srd import srd as srd
from rdd_jax.methods.itrd import itrd as itrd
from rdd_jax.methods.crd import crd as crd
from rdd_jax.methods.rrd import rrd as rrd
from rdd_jax.methods.rdd import rdd as rdd
from rdd_jax.methods.rdx_triplet import rdx_triplet as rdx_triplet
from rdd_jax.methods.from_loss import from_loss as from_loss
from rdd_jax.methods.scheduled import scheduled as scheduled, warmup as warmup
from rdd_jax.methods.registry import (
    CROSS_ENTROPY as CROSS_ENTROPY,
    METHODS as METHODS,
    RDD_OBJECTIVE as RDD_OBJECTIVE,
    TERM as TERM,
    create as create,
    from_options as from_options,
    label as label,
    options as options,
    reads_teacher as reads_teacher,
    register as register,
)
from rdd_jax.methods.weighted_sum import weighted_sum as weighted_sum
