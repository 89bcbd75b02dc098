"""The PyTorch networks: a small CNN and a small vision transformer for 28 x 28 grey images."""

import torch
from torch import Tensor, nn

CLASSES = 10


class SmallCNN(nn.Module):
    """Three 3 x 3 convolutions with batch normalisation, two poolings, global average, logits."""

    def __init__(self, widths: tuple[int, int, int] = (16, 32, 48)) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 1
        for index, width in enumerate(widths):
            if index:
                layers.append(nn.MaxPool2d(2))
            layers += [
                nn.Conv2d(channels, width, 3, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(),
            ]
            channels = width
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(channels, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        """Maps normalised images (batch, 1, 28, 28) to logits (batch, 10)."""
        return self.head(self.features(images).mean(dim=(2, 3)))


class Attention(nn.Module):
    """Multi-head self-attention in basic operations, so that the graph has no fused ones."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.scale = (width // heads) ** -0.5
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Maps tokens (batch, n, width) to tokens of the same shape."""
        batch, count, width = tokens.shape
        qkv = self.qkv(tokens).reshape(batch, count, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        weights = (query @ key.transpose(-2, -1) * self.scale).softmax(dim=-1)
        return self.out((weights @ value).transpose(1, 2).reshape(batch, count, width))


class Block(nn.Module):
    """One pre-norm transformer block; the MLP is `widening` times as wide as the tokens."""

    def __init__(self, width: int, heads: int, widening: int = 2) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, widening * width), nn.GELU(), nn.Linear(widening * width, width)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """Maps tokens (batch, n, width) to tokens of the same shape."""
        tokens = tokens + self.attention(self.norm1(tokens))
        return tokens + self.mlp(self.norm2(tokens))


class SmallViT(nn.Module):
    """Vision transformer: patches, learned positions, mean of the tokens, logits."""

    def __init__(self, patch: int = 4, width: int = 64, depth: int = 4, heads: int = 4) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, width, patch, stride=patch)
        self.positions = nn.Parameter(0.02 * torch.randn(1, (28 // patch) ** 2, width))
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        """Maps normalised images (batch, 1, 28, 28) to logits (batch, 10)."""
        tokens = self.patches(images).flatten(2).transpose(1, 2) + self.positions
        return self.head(self.norm(self.blocks(tokens)).mean(dim=1))
