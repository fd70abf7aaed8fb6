"""The generator: a causal transformer from a class, token by token.

Source: Sun et al., "Autoregressive model beats diffusion: Llama for scalable image generation",
2024; with the head of Ma et al., "UniTok", 2025, for several codebooks. Keys and shapes of its
state dict are upstream's.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ....harness.errors import UsageError
from .blocks import Block, Cache, RMSNorm, turn_table
from .config import GeneratorConfig
from .draws import choose, image_numbers
from .heads import CodeHead, PlainHead, SingleEmbedding, SummedEmbedding
from .sampling import Sampling


class ClassEmbedding(nn.Module):
    """A vector per class, and a last one for "no class" where training withholds classes."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.embedding_table = nn.Embedding(config.embedded_classes, config.dim)

    def forward(self, classes: Tensor) -> Tensor:
        """int64 (B,) -> (B, 1, D)."""
        return self.embedding_table(classes)[:, None]


class Generator(nn.Module):
    """Class-conditional generator of an image's codes.

    Shapes: B images, K codebooks, L positions, V codes per codebook, D the width. With one
    codebook, tokens are (B, L), as upstream has them; (B, 1, L) is taken as well.
    """

    _turns: Tensor

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        single = config.num_codebooks == 1
        self.cls_embedding = ClassEmbedding(config)
        self.tok_embeddings = SingleEmbedding(config) if single else SummedEmbedding(config)
        self.dropout = nn.Dropout(config.token_dropout_p)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.norm = RMSNorm(config.dim, config.norm_eps)
        self.output: PlainHead | CodeHead = PlainHead(config) if single else CodeHead(config)
        # On the CPU even where the network is laid out on the meta device: it is in no checkpoint.
        with torch.device("cpu"):
            table = turn_table(config)
        self.register_buffer("_turns", table, persistent=False)

    def hidden(self, classes: Tensor, tokens: Tensor) -> Tensor:
        """int64 (B,), (B, K, L) -> (B, L, D): place l has seen the class and tokens 0 to l-1."""
        x = torch.cat([self.cls_embedding(classes), self.tok_embeddings(tokens[..., :-1])], dim=1)
        x = self.dropout(x)
        for layer in self.layers:
            x = layer(x, self._turns[: x.shape[1]])
        return self.norm(x)

    def logits(self, classes: Tensor, tokens: Tensor) -> Tensor:
        """Logits of every token, given the class and the true tokens before it.

        Args:
            classes: int64 (B,), in [0, num_classes]; the last one stands for "no class", where
                the generator has one (`class_dropout_prob` above 0).
            tokens: int64 (B, K, L), in [0, V).

        Returns:
            (B, K, L, V); (B, L, V) with one codebook.

        Raises:
            UsageError: shapes, types or ranges do not fit the configuration.
        """
        tokens = self.checked(classes, tokens)
        hidden = self.hidden(classes, tokens)
        flat = self.output.logits(hidden.flatten(0, 1), tokens.transpose(1, 2).flatten(0, 1))
        logits = flat.unflatten(0, hidden.shape[:2]).transpose(1, 2)
        return logits[:, 0] if self.config.num_codebooks == 1 else logits

    def loss(
        self,
        classes: Tensor,
        tokens: Tensor,
        positions: Tensor | None = None,
        *,
        context: Tensor | None = None,
    ) -> Tensor:
        """Mean cross entropy, nats per code.

        Args:
            classes: int64 (B,).
            tokens: int64 (B, K, L).
            positions: int64 (B, P), the places of each image that count; None: all. Places drawn
                at random give the same gradient in expectation, and the head costs less.
            context: int64 (B, K, L), the tokens that the trunk is given; None: the true ones.
        """
        tokens = self.checked(classes, tokens)
        context = tokens if context is None else self.checked(classes, context)
        hidden, codes = self.hidden(classes, context), tokens.transpose(1, 2)
        if positions is not None:
            chosen = positions[..., None]
            hidden = hidden.gather(1, chosen.expand(-1, -1, hidden.shape[2]))
            codes = codes.gather(1, chosen.expand(-1, -1, codes.shape[2]))
        codes = codes.flatten(0, 1)
        logits = self.output.logits(hidden.flatten(0, 1), codes)
        return F.cross_entropy(logits.flatten(0, 1).float(), codes.flatten())

    @torch.inference_mode()
    def generate(
        self,
        classes: Tensor | Sequence[int],
        *,
        sampling: Sampling | None = None,
        seed: int = 0,
        images: Sequence[int] | None = None,
    ) -> Tensor:
        """Codes of new images.

        Args:
            classes: int64 (B,), in [0, num_classes).
            sampling: how codes are chosen; None: from the model's own distribution.
            seed: of the uniform numbers.
            images: running number of each image; None: 0 to B-1. An image depends on its class,
                the seed, this number and `sampling` only: to the bit on one machine, with as many
                threads.

        Returns:
            int64 (B, K, L); (B, L) with one codebook.

        Raises:
            UsageError: classes, seed or image numbers are no whole numbers in range, not as many
                of one as of the other, or guidance from a generator that knows no image without
                its class.
        """
        sampling = sampling or Sampling()
        device, config = self._turns.device, self.config
        classes = _whole_numbers(classes).to(device)
        self._check_range(classes, config.num_classes, "classes")
        images = range(len(classes)) if images is None else images
        if len(images) != len(classes):
            message = f"{len(images)} image numbers for {len(classes)} classes: give one each"
            raise UsageError(message)
        if sampling.guided and config.embedded_classes == config.num_classes:
            message = (
                f"cfg_scale is {sampling.cfg_scale}, and this generator was trained without "
                "withheld classes (class_dropout_prob 0): it has nothing to be guided from. Use 1."
            )
            raise UsageError(message)
        numbers = image_numbers(seed, images, config.block_size * config.num_codebooks)
        numbers = numbers.unflatten(1, (config.block_size, config.num_codebooks)).to(device)
        was_training = self.training
        self.eval()
        try:
            parts = [
                self._generate(*part, sampling)
                for part in zip(
                    _filled(classes, sampling.rows), _filled(numbers, sampling.rows), strict=True
                )
            ]
        finally:
            self.train(was_training)
        codes = torch.cat(parts)[: len(classes)]
        return codes[:, 0] if config.num_codebooks == 1 else codes

    def _generate(self, classes: Tensor, numbers: Tensor, sampling: Sampling) -> Tensor:
        config, count = self.config, len(classes)
        caches = [Cache(config.block_size) for _ in self.layers]
        if sampling.guided:
            classes = torch.cat([classes, torch.full_like(classes, config.num_classes)])
        x = self.cls_embedding(classes)
        found: list[Tensor] = []
        for place in range(config.block_size):
            for layer, cache in zip(self.layers, caches, strict=True):
                x = layer(x, self._turns[place : place + 1], cache)

            def choose_code(book: int, logits: Tensor, place: int = place) -> Tensor:
                if not sampling.guided:
                    return choose(logits, numbers[:, place, book], sampling)
                with_class, without = logits.split(count)
                guided = without + (with_class - without) * sampling.cfg_scale
                # Both halves go on with the same code.
                return choose(guided, numbers[:, place, book], sampling).repeat(2)

            codes = self.output.draw(self.norm(x)[:, 0], choose_code)
            found.append(codes[:count])
            x = self.tok_embeddings(codes[..., None])
        return torch.stack(found, dim=2)

    def checked(self, classes: Tensor, tokens: Tensor) -> Tensor:
        """Tokens as (B, K, L), if they and the classes fit the configuration.

        Raises:
            UsageError: see `logits`.
        """
        config = self.config
        if tokens.ndim == 2 and config.num_codebooks == 1:
            tokens = tokens[:, None]
        shape = (len(classes), config.num_codebooks, config.block_size)
        wrong = tokens.dtype != torch.int64 or classes.dtype != torch.int64
        if wrong or classes.ndim != 1 or tuple(tokens.shape) != shape or not len(classes):
            message = (
                f"the generator takes int64 classes (B,) and tokens (B, {shape[1]}, {shape[2]}), "
                f"got {classes.dtype} {tuple(classes.shape)}, {tokens.dtype} {tuple(tokens.shape)}"
            )
            raise UsageError(message)
        self._check_range(classes, config.embedded_classes, "classes")
        self._check_range(tokens, config.codebook_size, "tokens")
        return tokens

    @staticmethod
    def _check_range(values: Tensor, count: int, what: str) -> None:
        low, high = (int(value) for value in values.aminmax())
        if low < 0 or high >= count:
            message = f"{what} must be in 0 to {count - 1}, got {low} to {high}"
            raise UsageError(message)


def _whole_numbers(classes: Tensor | Sequence[int]) -> Tensor:
    """Classes as int64 (B,); numbers with a fraction are not cut down to other classes.

    Raises:
        UsageError: they are no list of whole numbers.
    """
    try:
        found = torch.as_tensor(classes)
    except (TypeError, ValueError, RuntimeError) as error:
        message = f"classes must be whole numbers, got {classes!r}"
        raise UsageError(message) from error
    broken = found.dtype == torch.bool or found.is_floating_point() or found.is_complex()
    if found.ndim != 1 or not len(found) or broken:
        message = (
            "classes must be at least one whole number, in a list or of shape (B,), got "
            f"{found.dtype} {tuple(found.shape)}"
        )
        raise UsageError(message)
    return found.to(torch.int64)


def _filled(values: Tensor, rows: int) -> tuple[Tensor, ...]:
    """(n, ...) in parts of so many rows, the last one filled up with zeros.

    A row of a matrix product changes with how many others there are, not with what they hold.
    """
    zeros = values.new_zeros(-len(values) % rows, *values.shape[1:])
    return torch.cat([values, zeros]).split(rows)
