"""The static site: pages written from records, readable without a server or a script."""
