"""Records as tables that people read."""
