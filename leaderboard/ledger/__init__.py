"""Values that papers print, as data: copied, checked for consistency, never ranked."""

from .rows import LedgerRow, Paper, ledger, papers

__all__ = ["LedgerRow", "Paper", "ledger", "papers"]
