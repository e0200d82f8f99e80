"""RDX explanations: clusters and pictures of the examples that one model groups and another does not.

    explanation = explain.explain(student_embeddings, teacher_embeddings)
    explain.write("folder", explanation, student_embeddings, teacher_embeddings)

Two arrays of embeddings of the same examples are all that is needed. Given images and labels (`Examples`), the page
shows them. The mode `--mode=explain` of the program explains two trained networks.
"""

from rdd_jax.analysis.explain.clusters import Cluster
from rdd_jax.analysis.explain.explanation import Direction, Explanation, explain
from rdd_jax.analysis.explain.page import Model, write
from rdd_jax.analysis.explain.plots import Examples, Picture, draw
from rdd_jax.analysis.explain.success_rate import Chance, SuccessRate

__all__ = [
    "Chance",
    "Cluster",
    "Direction",
    "Examples",
    "Explanation",
    "Model",
    "Picture",
    "SuccessRate",
    "draw",
    "explain",
    "write",
]
