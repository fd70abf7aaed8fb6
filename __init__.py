"""medbench: a benchmark for visual tokenizers of medical images.

The public Python API, loaded on first use, so that `import medbench` stays light.
"""

import importlib

__version__ = "0.1.0"

_EXPORTS = {
    "Encoding": "harness.protocol",
    "Tokenizer": "harness.protocol",
    "TokenizerInfo": "harness.protocol",
    "MedbenchError": "harness.errors",
    "MetricError": "harness.errors",
    "MissingPrerequisite": "harness.errors",
    "Sampling": "tasks.synthesis.generator.sampling",
    "UsageError": "harness.errors",
    "check_images": "harness.image_batch",
    "Record": "harness.record",
    "load_record": "harness.record_files",
    "load_records": "harness.record_files",
    "load_dataset": "harness.registry",
    "load_generator": "tasks.synthesis.generator.load",
    "load_tokenizer": "harness.tokenizer_registry",
    "run": "harness.runner",
    "validate": "harness.conformance",
}

__all__ = ["__version__", *_EXPORTS]  # noqa: PLE0604 (the names resolve through __getattr__)


def __getattr__(name: str) -> object:
    if name not in _EXPORTS:
        message = f"module 'medbench' has no attribute {name!r}"
        raise AttributeError(message)
    value = getattr(importlib.import_module(f"medbench.{_EXPORTS[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
