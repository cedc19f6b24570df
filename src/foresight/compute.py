"""Parameters, FLOPs and memory of a shape, counted one documented way.

FLOPs are those of the matrix products of one forward and one backward pass, two per
multiply-add, nothing else: linear maps cost 2 forward and 4 backward per weight and
position; attention scores and their products with the values are counted over the whole
(T, T) square, masked half included, because that is what the plain algorithm multiplies.
The embedding look-up costs nothing, the output head counts in full. This equals torch's
`FlopCounterMode` with the mathematical attention (`tests/test_compute.py`, within 1 %).
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Shape(BaseModel):
    """Everything that fixes the size of a model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    width: int
    """Residual stream width d."""
    depth: int
    """Number of blocks L."""
    head_dim: int
    """Width of one attention head, constant along a ladder."""
    ffn: int
    """Inner width of the SwiGLU feed-forward."""
    vocab: int
    """Size of the vocabulary, output rows included that no token uses."""
    context: int
    """Positions per row T."""
    patch: int
    """Side of an image patch in pixels; a patch is one position of 3 * patch**2 numbers."""

    @property
    def heads(self) -> int:
        return self.width // self.head_dim

    @property
    def block_params(self) -> int:
        """Weights of all blocks."""
        return self.depth * (4 * self.width**2 + 3 * self.width * self.ffn)

    @property
    def image_params(self) -> int:
        """Weights that only image positions pass through: patch projection and two-layer MLP."""
        return 3 * self.patch**2 * self.width + 2 * self.width**2

    @property
    def params(self) -> int:
        """All weights, both embeddings included."""
        return self.block_params + self.image_params + 2 * self.vocab * self.width

    @property
    def active_params(self) -> int:
        """Weights multiplied at every position (blocks and head, no look-up): the N of 6 N D."""
        return self.block_params + self.vocab * self.width

    def flops_per_token(self, image_share: float = 0.0) -> float:
        """Training FLOPs per position, of which a share `image_share` are image patches."""
        attention = 4 * self.depth * self.context * self.width
        forward = 2 * self.active_params + attention + 2 * self.image_params * image_share
        return 3.0 * forward

    @property
    def head_share(self) -> float:
        """Share of the FLOPs spent on the output head: where large, C means something else."""
        return 6.0 * self.vocab * self.width / self.flops_per_token()

    def training_bytes(self, batch_tokens: int) -> int:
        """Weights, gradients, optimiser state and activations in float32, the process left out."""
        per_block = 12 * self.width + 5 * self.ffn
        activations = batch_tokens * (self.depth * per_block + 8 * self.width)
        return 4 * (4 * self.params + activations)
