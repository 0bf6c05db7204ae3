"""EfficientNet-Lite0 in PyTorch, written independently of `sightbox.graphs` to compare with it.

TensorFlow's SAME padding is computed from the input at run time, batch norms stay layers.
"""

import torch
from torch import nn
from torch.nn import functional

# expansion, channels, blocks, first stride, kernel: EfficientNet paper, table 1
STAGES = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)


class SameConv2d(nn.Conv2d):
    """A convolution without bias, padded as TensorFlow's SAME."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, step: int = 1, parts: int = 1
    ) -> None:
        super().__init__(inputs, outputs, kernel, step, groups=parts, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Pads, then convolves."""
        pads: list[int] = []
        for side, kernel, step in zip(
            x.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1], strict=True
        ):
            total = max((-(-side // step) - 1) * step + kernel - side, 0)
            pads += [total // 2, total - total // 2]
        return super().forward(functional.pad(x, pads))


class Block(nn.Module):
    """An inverted residual block."""

    def __init__(self, inputs: int, outputs: int, expansion: int, kernel: int, step: int) -> None:
        super().__init__()
        inner = inputs * expansion
        self.residual = step == 1 and inputs == outputs
        self.expands = expansion != 1
        if self.expands:
            self._expand_conv = SameConv2d(inputs, inner, 1)
            self._bn0 = nn.BatchNorm2d(inner, 1e-3)
        self._depthwise_conv = SameConv2d(inner, inner, kernel, step, inner)
        self._bn1 = nn.BatchNorm2d(inner, 1e-3)
        self._project_conv = SameConv2d(inner, outputs, 1)
        self._bn2 = nn.BatchNorm2d(outputs, 1e-3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Runs the block."""
        y = functional.relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        y = functional.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        total: torch.Tensor = y + x if self.residual else y
        return total


class EfficientNetLite0(nn.Module):
    """The whole network."""

    def __init__(self, classes: int = 1000) -> None:
        super().__init__()
        self._conv_stem = SameConv2d(3, 32, 3, 2)
        self._bn0 = nn.BatchNorm2d(32, 1e-3)
        blocks, channels = [], 32
        for expansion, outputs, count, stride, kernel in STAGES:
            for number in range(count):
                step = stride if number == 0 else 1
                blocks.append(Block(channels, outputs, expansion, kernel, step))
                channels = outputs
        self._blocks = nn.Sequential(*blocks)
        self._conv_head = SameConv2d(320, 1280, 1)
        self._bn1 = nn.BatchNorm2d(1280, 1e-3)
        self._fc = nn.Linear(1280, classes)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Returns logits, features and maps."""
        x = self._blocks(functional.relu6(self._bn0(self._conv_stem(x))))
        maps = functional.relu6(self._bn1(self._conv_head(x)))
        features = maps.mean((2, 3))
        return self._fc(features), features, maps
