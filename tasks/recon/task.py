"""The reconstruction task: shards of images, then aggregates, sanity gate and gallery."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from ...harness.metrics import lpips_file
from ...harness.shards import run_shards
from ...harness.task import Cell, Outcome, Plan
from ...harness.vocabulary import MACRO, POOLED
from .definitions import definitions, lpips_metrics
from .features import build_extractor, mapped, original_features, spaces
from .formulas import LESIONS, PER_IMAGE
from .options import Asked, identity, understand
from .retention import PER_LIMIT, TRAINING_IMAGES

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from ...harness.datasets.dataset import Dataset
    from ...harness.record import Definition
    from ...harness.shards import Arrays
    from ..classifier import Classifier
    from .aggregate import Aggregator
    from .features import Space
    from .measure import Instruments

_CLAMPED_LIMIT = 0.05
"""Above this share of values outside [0, 1] the record carries a warning."""
_TRAIN = "train"


class ReconTask:
    """Encode, decode, compare with what went in."""

    name = "recon"
    default_dataset = "medsynth"
    stage_version = 2
    seeded = False
    options = ("extractor", "retention")

    def check_options(self, options: Mapping[str, str]) -> Mapping[str, str]:
        """See `options`."""
        return identity(options)

    def scored_limit(
        self, dataset: Dataset, options: Mapping[str, str], limit: int | None
    ) -> int | None:
        """The user's."""
        del dataset, options
        return limit

    def parts(
        self, dataset: Dataset, options: Mapping[str, str], limit: int | None
    ) -> Mapping[str, int | None]:
        """The training part, where retention was asked for."""
        if not understand(options).retention:
            return {}
        per_group = TRAINING_IMAGES // max(1, len(dataset.card.modalities))
        return {_TRAIN: min(per_group, PER_LIMIT * limit) if limit else per_group}

    def definitions(self, plan: Plan) -> Mapping[str, Definition]:
        """Definitions by metric name and setting."""
        return definitions(plan)

    def run(self, cell: Cell) -> Outcome:
        """Measure one cell."""
        import numpy as np

        from . import gallery, sanity
        from .aggregate import Aggregator
        from .measure import measure_shard

        asked = understand(cell.plan.options)
        measured_in = spaces(asked)
        tools = _instruments(cell, asked, measured_in)
        originals = [
            original_features(cell.store, each, device=cell.device) for each in tools.extractors
        ]

        def shards() -> Iterator[Arrays]:
            return run_shards(
                cell.work,
                len(cell.store),
                lambda start, stop: measure_shard(cell, tools, start, stop),
                label=f"{cell.tokenizer.info.full_name} on {cell.plan.dataset_id}",
            )

        collected = _Collected(cell, shards)
        for number, shard in enumerate(shards()):
            collected.add(number, shard)
        scores = {name: collected.column(name) for name in collected.scores(tools.lpips)}
        aggregate = Aggregator(cell.plan, cell.store, cell.definitions)
        aggregate.per_image(scores)
        _add_absent_lpips(aggregate, asked, tools)
        for number, space in enumerate(measured_in):
            _add_distances(aggregate, space, originals[number], collected.features(number))
        if tools.classifier is not None:
            _add_retention(aggregate, cell, tools.classifier, collected)
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


def _instruments(cell: Cell, asked: Asked, measured_in: list[Space]) -> Instruments:
    from ...harness.reading import ReadAhead
    from .measure import Instruments

    lpips = {}
    for name, trunk in lpips_metrics(asked).items():
        path = lpips_file.locate(trunk)
        if path is not None:
            from ...harness.metrics.lpips_network import Lpips

            lpips[name] = Lpips(trunk, path, device=cell.device)
    classifier = None
    if asked.retention:
        from .classifier import retention_classifier

        classifier = retention_classifier(cell.parts[_TRAIN].store, device=cell.device)
    extractors = [build_extractor(space, device=cell.device) for space in measured_in]
    return Instruments(ReadAhead(cell.store, cell.device), extractors, lpips, classifier)


def _add_absent_lpips(aggregate: Aggregator, asked: Asked, tools: Instruments) -> None:
    for name, trunk in lpips_metrics(asked).items():
        if name not in tools.lpips:
            for group in aggregate.overall:
                aggregate.add(name, group, lpips_file.absence(trunk))


def _add_distances(
    aggregate: Aggregator, space: Space, originals: np.ndarray, features: np.ndarray
) -> None:
    from ...harness.metrics.references import ReconstructionReference, Reconstructions
    from .distances import Sets, add_distances

    fingerprint = aggregate.store.fingerprint
    reference = ReconstructionReference(originals, space=space.name, fingerprint=fingerprint)
    candidate = Reconstructions(features, space.name, fingerprint)
    add_distances(aggregate, Sets(space, reference, candidate))


def _add_retention(
    aggregate: Aggregator, cell: Cell, classifier: Classifier, collected: _Collected
) -> None:
    from .aggregate import found
    from .retention import NEAR_CHANCE, Answers, classes_of, near_chance, retention

    classes = classes_of(cell.parts[_TRAIN].store.rows)
    answers = Answers(classes, collected.column("logits"), collected.column("logits_after"))
    flags = (f"classifier {classifier.sha256[:16]}",)
    values = retention(aggregate.store, answers)
    blind = near_chance(aggregate.store, classes, values)
    for (name, group, setting), value in values.items():
        if group == MACRO and not aggregate.has_macro:
            continue
        doubt = group in blind or (group in (POOLED, MACRO) and bool(blind))
        marks = (*flags, NEAR_CHANCE) if doubt and not setting else flags
        known = value if isinstance(value, str) else found(value, flags=marks)
        aggregate.add(name, group, known, setting)


def _warnings(clamped: float, cell: Cell) -> list[str]:
    if clamped <= _CLAMPED_LIMIT or cell.tokenizer.info.kind == "bound":
        return []
    return [f"{clamped:.1%} of the reconstructed values lay outside [0, 1] and were clamped"]


class _Collected:
    """What the shards of one cell add up to; features stay on disk."""

    def __init__(self, cell: Cell, shards: Callable[[], Iterator[Arrays]]) -> None:
        self.cell, self.shards = cell, shards
        self.parts: dict[str, list[np.ndarray]] = {}
        self.counts: dict[str, np.ndarray] = {}
        self.positions = 0

    def add(self, number: int, shard: Arrays) -> None:
        """Take over one shard; codes are counted per group and not kept."""
        from ...harness.shards import SHARD_IMAGES
        from .measure import FEATURES

        for name, array in shard.items():
            if name == "indices":
                self._count(number * SHARD_IMAGES, array)
            elif not name.startswith(FEATURES):
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

    def features(self, number: int) -> np.ndarray:
        """Features of all reconstructions in one space, memory-mapped."""
        from .measure import FEATURES

        name = f"{FEATURES}{number}"
        parts = (shard[name] for shard in self.shards())
        return mapped(parts, self.cell.work / f"{name}.npy", len(self.cell.store))

    def scores(self, lpips: Mapping[str, object]) -> list[str]:
        """Names of the per-image scores that were measured."""
        wanted = (*PER_IMAGE, *lpips, *LESIONS, "channel_disagreement")
        return [name for name in wanted if name in self.parts]

    def column(self, name: str) -> np.ndarray:
        """One array over all images."""
        import numpy as np

        return np.concatenate(self.parts[name])

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
