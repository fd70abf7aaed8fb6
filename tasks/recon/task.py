"""The reconstruction task: shards of images, then aggregates, sanity gate and gallery."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ...harness.shards import run_shards
from ...harness.task import Cell, Outcome, Plan
from .definitions import PER_IMAGE, definitions
from .features import available_space, build_extractor, original_features

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from ...harness.record import Definition

_CLAMPED_LIMIT = 0.05
"""Above this share of values outside [0, 1] the record carries a warning."""


class ReconTask:
    """Encode, decode, compare with what went in."""

    name = "recon"
    default_dataset = "medsynth"
    stage_version = 1
    seeded = False

    def definitions(self, plan: Plan) -> Mapping[str, Definition]:
        """Definitions by metric name."""
        return definitions(plan, available_space())

    def run(self, cell: Cell) -> Outcome:
        """Measure one cell."""
        import numpy as np

        from . import gallery, sanity
        from .aggregate import Aggregator
        from .measure import measure_shard

        space = available_space()
        extractor = build_extractor(space, device=cell.device)
        originals = original_features(cell.store, extractor, device=cell.device)
        collected = _Collected(cell)
        for start, shard in enumerate(
            run_shards(
                cell.work,
                len(cell.store),
                lambda start, stop: measure_shard(cell, extractor, start, stop),
                label=f"{cell.tokenizer.info.full_name} on {cell.plan.dataset_id}",
                after=cell.batch.keep,
            )
        ):
            collected.add(start, shard)
        scores = collected.columns(PER_IMAGE)
        aggregate = Aggregator(cell.plan, cell.store, cell.definitions)
        aggregate.per_image(scores)
        aggregate.distances(space, originals, collected.column("features"))
        info = cell.tokenizer.info
        if collected.counts:
            aggregate.codes(collected.counts, collected.positions)
        bits = collected.column("bits") if "bits" in collected.parts else None
        aggregate.rate(info.bits_per_image, bits)
        judged = scores
        if info.colour == "luma":
            judged = {name: collected.column(f"luma_{name}") for name in ("psnr", "ms_ssim")}
        reason = sanity.suspicion(cell, judged)
        clamped = collected.column("clamped")
        encode, decode, metric = np.sum(collected.parts["seconds"], axis=0)
        return Outcome(
            metrics=aggregate.metrics,
            per_image=collected.table(scores, clamped, bits),
            status="suspect" if reason else "ok",
            status_reason=reason,
            warnings=_warnings(float(clamped.mean()), cell),
            clamped_fraction=float(clamped.mean()),
            encode_seconds=float(encode),
            decode_seconds=float(decode),
            metric_seconds=float(metric),
            gallery=gallery.save(cell, scores),
        )


def _warnings(clamped: float, cell: Cell) -> list[str]:
    if clamped <= _CLAMPED_LIMIT or cell.tokenizer.info.kind == "bound":
        return []
    return [f"{clamped:.1%} of the reconstructed values lay outside [0, 1] and were clamped"]


class _Collected:
    """What the shards of one cell add up to."""

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self.parts: dict[str, list[np.ndarray]] = {}
        self.counts: dict[str, np.ndarray] = {}
        self.positions = 0

    def add(self, number: int, shard: dict[str, np.ndarray]) -> None:
        """Take over one shard; codes are counted per group and not kept."""
        from ...harness.shards import SHARD_IMAGES

        for name, array in shard.items():
            if name == "indices":
                self._count(number * SHARD_IMAGES, array)
            else:
                self.parts.setdefault(name, []).append(array)

    def _count(self, start: int, indices: np.ndarray) -> None:
        import numpy as np

        from ...harness.metrics.codebook import count_indices

        rows = self.cell.store.rows[start : start + len(indices)]
        groups = np.array([row.group for row in rows])
        self.positions = indices.shape[2]
        for group in dict.fromkeys(groups.tolist()):
            counts = count_indices(indices[groups == group], self.cell.tokenizer.info.codebook_size)
            self.counts[group] = self.counts[group] + counts if group in self.counts else counts

    def column(self, name: str) -> np.ndarray:
        """One array over all images."""
        import numpy as np

        return np.concatenate(self.parts[name])

    def columns(self, names: tuple[str, ...]) -> dict[str, np.ndarray]:
        """Several arrays over all images."""
        return {name: self.column(name) for name in names}

    def table(
        self, scores: Mapping[str, np.ndarray], clamped: np.ndarray, bits: np.ndarray | None
    ) -> pd.DataFrame:
        """The per-image rows."""
        import pandas as pd

        rows = self.cell.store.rows
        data = {
            "id": [row.id for row in rows],
            "group": [row.group for row in rows],
            "patient": [row.patient for row in rows],
            "sha256": [row.sha256 for row in rows],
            **scores,
            "clamped_fraction": clamped,
        }
        if bits is not None:
            data["bits"] = bits
        return pd.DataFrame(data)


TASK = ReconTask()
