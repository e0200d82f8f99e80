"""The benchmark's workloads in PyTorch: networks, losses and mining written as published, for comparison alone.

As in RepDistiller, the rows of the bank are gathered for every anchor, and ranks are two argsorts. Where JAX has a GPU,
images and banks are on it and the networks are compiled; augmentation, losses and the optimizer are not. Set
XLA_PYTHON_CLIENT_PREALLOCATE=false so that JAX leaves GPU memory to PyTorch.
"""

import itertools
from collections.abc import Callable

import jax
import torch
from torch import nn
from torch.nn import functional

Workload = Callable[[], None]
_DEVICE = torch.device("cuda" if jax.default_backend() == "gpu" else "cpu")
torch.backends.cudnn.benchmark = True  # XLA also chooses among algorithms for a convolution by timing them.
_METHODS = ("teacher", "ce", "kd", "crd", "rdd", "rdd_alone")
_CLASSES, _EXAMPLES, _DIM, _NEGATIVES, _POOL, _TEMPERATURE = 100, 50_000, 128, 16_384, 1_024, 0.07


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    def __init__(self, inputs: int, width: int, stride: int):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        same = stride == 1 and inputs == width
        projection = nn.Sequential(nn.Conv2d(inputs, width, 1, stride, bias=False), nn.BatchNorm2d(width))
        self.shortcut = nn.Identity() if same else projection

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps [b,c,h,w] to [b,width,h/stride,w/stride]."""
        y = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        return functional.relu(y + self.shortcut(x))


class ResNet(nn.Module):
    """resnet8x4 or resnet32x4, by its depth."""

    def __init__(self, depth: int):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 32, 3, 1, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU())
        blocks, inputs = [], 32
        for width, stride in ((64, 1), (128, 2), (256, 2)):
            for block in range((depth - 2) // 6):
                blocks.append(Block(inputs, width, stride if block == 0 else 1))
                inputs = width
        self.blocks, self.fc = nn.Sequential(*blocks), nn.Linear(256, _CLASSES)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Maps images [b,3,h,w] to logits [b,100] and embeddings [b,256]."""
        embedding = self.blocks(self.stem(images)).mean((2, 3))
        return self.fc(embedding), embedding


class Contrast(nn.Module):
    """The contrastive loss with memory banks: CRD in both directions, or RDD in one with a table of hard negatives."""

    def __init__(self, both_directions: bool):
        super().__init__()
        self.heads = nn.ModuleList([nn.Linear(256, _DIM), nn.Linear(256, _DIM)])
        self.banks = [functional.normalize(torch.randn(_EXAMPLES, _DIM, device=_DEVICE)) for _ in range(2)]
        self.both_directions, self.normalizer = both_directions, None
        self.table = None if both_directions else torch.randint(_EXAMPLES, (_EXAMPLES, _POOL), device=_DEVICE)

    def forward(self, embeddings: tuple[torch.Tensor, torch.Tensor], indices: torch.Tensor) -> torch.Tensor:
        """Returns the loss of the student's and the teacher's embeddings [b,256] of the images with indices [b]."""
        vectors = [functional.normalize(head(x)) for head, x in zip(self.heads, embeddings, strict=True)]
        if self.table is None:
            negatives = torch.randint(_EXAMPLES, (len(indices), _NEGATIVES), device=_DEVICE)
        else:
            drawn = torch.randint(_POOL, (len(indices), _NEGATIVES), device=_DEVICE)
            negatives = self.table[indices].gather(1, drawn)
        rows = torch.cat([indices[:, None], negatives], dim=1)
        loss = self._direction(vectors[0], self.banks[1], rows)
        if self.both_directions:
            loss = loss + self._direction(vectors[1], self.banks[0], rows)
        for bank, new in zip(self.banks, vectors, strict=True):
            bank[indices] = functional.normalize(0.5 * bank[indices] + 0.5 * new.detach())
        return loss

    def _direction(self, queries: torch.Tensor, bank: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        gathered = bank.index_select(0, rows.view(-1)).view(*rows.shape, _DIM)
        scores = torch.exp(torch.bmm(gathered, queries[:, :, None])[:, :, 0] / _TEMPERATURE)
        if self.normalizer is None:
            self.normalizer = scores.mean().item() * _EXAMPLES
        p, noise = scores / self.normalizer, _NEGATIVES / _EXAMPLES
        positive = torch.log(p[:, 0] / (p[:, 0] + noise + 1e-7))
        return -(positive + torch.log(noise / (p[:, 1:] + noise + 1e-7)).sum(1)).mean()


def train_step(method: str, *, batch_size: int, dtype: str = "float32", steps: int = 1) -> Workload:
    """Prepares `steps` updates of resnet8x4 by resnet32x4 on images of CIFAR-100's size.

    Args:
        method: "ce", "kd", "crd", "rdd" or "rdd_alone", weighted as in configs/, or "teacher": resnet32x4 from labels.
        batch_size: of one update.
        dtype: of the networks' computation, "float32" or "bfloat16".
        steps: updates in one call.

    Raises:
        ValueError: for another method.
    """
    if method not in _METHODS:
        raise ValueError(f'no PyTorch step is written for "{method}", only for {", ".join(_METHODS)}')
    student = _network(32 if method == "teacher" else 8).train()
    teacher = None if method in ("teacher", "ce") else _network(32).eval().requires_grad_(False)
    contrast = Contrast(method == "crd").to(_DEVICE) if method in ("crd", "rdd", "rdd_alone") else None
    parameters = [*student.parameters(), *(contrast.parameters() if contrast else [])]
    optimizer = torch.optim.SGD(parameters, lr=0.05, momentum=0.9, weight_decay=5e-4)
    images = torch.randint(256, (_EXAMPLES, 3, 32, 32), dtype=torch.uint8, device=_DEVICE)
    labels = torch.arange(_EXAMPLES, device=_DEVICE) % _CLASSES

    def update(indices: torch.Tensor) -> None:
        pixels = _augment(images[indices])
        with torch.autocast(_DEVICE.type, torch.bfloat16, enabled=dtype == "bfloat16"):
            logits, embedding = student(pixels)
            if teacher:
                with torch.no_grad():
                    teacher_logits, teacher_embedding = teacher(pixels)
        loss = functional.cross_entropy(logits.float(), labels[indices])
        if method in ("kd", "rdd"):
            pair = functional.log_softmax(logits.float() / 4, 1), functional.softmax(teacher_logits.float() / 4, 1)
            weight = 0.1 if method == "kd" else 1.0
            loss = weight * loss + 0.9 * 16 * functional.kl_div(*pair, reduction="batchmean")
        if contrast:
            loss = loss + 0.8 * contrast((embedding.float(), teacher_embedding.float()), indices)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    batches = itertools.cycle(torch.randperm(_EXAMPLES, device=_DEVICE).split(batch_size)[: _EXAMPLES // batch_size])

    def work() -> None:
        for indices in itertools.islice(batches, steps):
            update(indices)
        _wait()

    return work


def _network(depth: int) -> nn.Module:
    network = ResNet(depth).to(_DEVICE, memory_format=torch.channels_last)
    if _DEVICE.type == "cuda":
        network.compile()
    return network


def _wait() -> None:
    if _DEVICE.type == "cuda":
        torch.cuda.synchronize()


def mine(num_examples: int, *, dim: int, pool_size: int, block_size: int = 512) -> Workload:
    """Prepares a mining in blocks of rows: distances, two argsorts for ranks, affinities, argmax and top-k."""
    student, teacher = torch.randn(2, num_examples, dim, device=_DEVICE)

    def work() -> None:
        for start in range(0, num_examples, block_size):
            ranks = [
                torch.cdist(x[start : start + block_size], x).argsort(1).argsort(1).float() for x in (student, teacher)
            ]
            difference = torch.tanh(0.1 * (ranks[0] - ranks[1]) / (torch.minimum(*ranks) + 1))
            own = torch.arange(len(difference), device=_DEVICE)
            difference[own, start + own] = 0.0
            difference.argmax(1)
            torch.topk(torch.exp(-0.8 * difference), pool_size, dim=1)
            (torch.exp(0.8 * difference) + torch.exp(-0.8 * difference)).mean(1)
        _wait()

    return work


def _augment(images: torch.Tensor) -> torch.Tensor:
    """Pads images uint8[b,3,32,32] by 4, crops and flips them at random, and normalises them to f32[b,3,32,32]."""
    count, offsets = len(images), torch.arange(32, device=_DEVICE)
    rows, columns = torch.randint(9, (2, count, 1, 1), device=_DEVICE)
    rows, columns = rows + offsets[:, None], columns + offsets
    flipped = torch.rand(count, 1, 1, device=_DEVICE) < 0.5
    columns = torch.where(flipped, columns.flip(2), columns)
    padded = functional.pad(images, (4, 4, 4, 4)).permute(0, 2, 3, 1)
    pixels = padded[torch.arange(count, device=_DEVICE)[:, None, None], rows, columns]
    return ((pixels.float() / 255 - 0.5) / 0.25).permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
