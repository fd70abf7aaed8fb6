"""Names of pages and files: what a record calls itself never becomes a path as it is."""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache

from ...harness.record import Record

_LONGEST = 90


@lru_cache(maxsize=4096)
def page_name(text: str) -> str:
    """A file name of `[a-z0-9._@-]` for any text; different texts get different names.

    Where a character had to be replaced (or the text is long), six digits of its hash follow.
    """
    name = re.sub(r"[^a-z0-9._@-]+", "-", text.lower()).strip(".-")[:_LONGEST]
    if name and name == text:
        return name
    return f"{name}-{hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()[:6]}"


def run_name(record: Record) -> str:
    """Page name of one record."""
    parts = (record.task, record.dataset.id, record.full_name, record.identity.key8)
    return page_name("-".join(parts))


def board_name(record: Record) -> str:
    """Page name of the task on the images that a record was made from."""
    facts = record.dataset
    return page_name(f"{record.task}-{facts.id}-{facts.fingerprint[:8]}")
