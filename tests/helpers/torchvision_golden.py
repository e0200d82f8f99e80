"""torchvision's ResNets on weights that a formula gives: the formula for the test, and the script that ran them.

Run once with PyTorch and torchvision installed, as `python tests/helpers/torchvision_golden.py`; no test needs either.
"""

import json
import pathlib

import numpy as np

GOLDEN = pathlib.Path(__file__).parent.parent / "goldens" / "imagenet_resnets.npz"
NAMES = ("resnet18", "resnet34", "resnet50")


def images():
    """f32[2,69,72,3]: for ImageNet's stem, whose convolution and pooling meet an even side, where padding shows."""
    return np.random.default_rng(0).normal(size=(2, 69, 72, 3)).astype(np.float32)


def weights(shapes):
    """{name: f32 array} by torch's names and shapes, as if trained, statistics included: drawn in the names' order."""
    rng = np.random.default_rng(1)

    def draw(name, shape):
        if len(shape) > 1:
            bound = (3 / np.prod(shape[1:])) ** 0.5  # Keeps the scale.
            return rng.uniform(-bound, bound, shape).astype(np.float32)
        is_factor = name.endswith("running_var") or name.endswith("weight")
        return rng.uniform(is_factor - 0.5, is_factor + 0.5, shape).astype(np.float32)

    return {name: draw(name, shapes[name]) for name in sorted(shapes)}


def _shown(network, x):
    shown = {}
    modules = [network.maxpool, network.layer1, network.layer2, network.layer3, network.layer4, network.avgpool]
    for key, module in zip([*(f"map{i}" for i in range(5)), "embedding"], modules, strict=True):
        module.register_forward_hook(lambda _, __, output, key=key: shown.update({key: output.mean((2, 3))}))
    return shown | {"logits": network(x)}


def main():
    """Writes what torchvision's networks say to GOLDEN: names and shapes, logits, embedding, and means of the maps."""
    import torch
    import torchvision

    golden = {"versions": f"torch {torch.__version__}, torchvision {torchvision.__version__}"}
    for name in NAMES:
        network = getattr(torchvision.models, name)(weights=None).eval()
        shapes = {key: list(x.shape) for key, x in network.state_dict().items() if not key.endswith("batches_tracked")}
        network.load_state_dict({key: torch.from_numpy(array) for key, array in weights(shapes).items()})
        with torch.inference_mode():
            shown = _shown(network, torch.from_numpy(images()).permute(0, 3, 1, 2))
        golden[f"{name}_shapes"] = json.dumps(shapes)
        golden |= {f"{name}_{key}": value.numpy() for key, value in shown.items()}
    np.savez_compressed(GOLDEN, **golden)


if __name__ == "__main__":
    main()
