"""The benchmark's workloads in PyTorch; not tested where PyTorch is not installed."""

import pytest

torch = pytest.importorskip("torch")

from experiments.benchmark import torch_workloads  # noqa: E402


@pytest.mark.parametrize(
    ("method", "dtype"),
    [("ce", "float32"), ("kd", "bfloat16"), ("crd", "float32"), ("rdd", "bfloat16"), ("rdd_alone", "float32")],
)
def test_an_update_changes_the_parameters_that_it_trains(method, dtype, monkeypatch):
    monkeypatch.setattr(torch_workloads, "_EXAMPLES", 64)
    monkeypatch.setattr(torch_workloads, "_NEGATIVES", 32)
    monkeypatch.setattr(torch_workloads, "_POOL", 8)
    made = []
    for name in ("_network", "Contrast"):
        make = getattr(torch_workloads, name)
        monkeypatch.setattr(torch_workloads, name, lambda *a, make=make: made.append(make(*a)) or made[-1])
    work = torch_workloads.train_step(method, batch_size=4, dtype=dtype, steps=2)
    before = [[parameter.clone() for parameter in module.parameters()] for module in made]
    banks = [bank.clone() for module in made if hasattr(module, "banks") for bank in module.banks]
    work()
    for module, old in zip(made, before, strict=True):
        moved = [not torch.equal(ours, theirs) for ours, theirs in zip(module.parameters(), old, strict=True)]
        assert all(torch.isfinite(parameter).all() for parameter in module.parameters())
        assert any(moved) == any(parameter.requires_grad for parameter in module.parameters())
    now = [bank for module in made if hasattr(module, "banks") for bank in module.banks]
    assert [int((new != old).any(dim=1).sum()) for new, old in zip(now, banks, strict=True)] == [8] * len(banks)


def test_augmented_images_are_crops_of_the_padded_images_flipped_or_not():
    image = torch.arange(3 * 32 * 32).reshape(1, 3, 32, 32).remainder(251).to(torch.uint8)
    padded = torch.nn.functional.pad(image, (4, 4, 4, 4))[0].float()
    crops = [padded[:, row : row + 32, column : column + 32] for row in range(9) for column in range(9)]
    known = {crop.numpy().tobytes() for whole in crops for crop in (whole, whole.flip(2))}
    views = torch_workloads._augment(image.expand(50, -1, -1, -1))
    assert views.is_contiguous(memory_format=torch.channels_last)
    pixels = ((views * 0.25 + 0.5) * 255).round()
    found = {view.contiguous().numpy().tobytes() for view in pixels}
    assert found <= known
    assert len(found) > 20
