"""Pure loss functions, arrays in and scalar out, by the kind of arrays that they compare.

logits: cross-entropy and knowledge distillation.
features: losses between feature maps.
relational: losses between the relations of a batch's embeddings.
contrastive: noise-contrastive estimation against a memory bank, relational contrast, triplets.
numerics: building blocks with safe gradients.

All compute in float32 whatever the dtype of their inputs. No gradient flows to the teacher's side, unless a docstring
says so. The loss of an empty batch is NaN, and so is one with an input that is not a number.
"""

from rdd_jax.losses import contrastive, features, logits, numerics, relational

__all__ = ["contrastive", "features", "logits", "numerics", "relational"]
