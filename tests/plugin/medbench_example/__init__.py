"""An example of a package that extends medbench through entry points."""
