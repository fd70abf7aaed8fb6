"""A paper's tables planned as cells, run where weights and data are here, and laid beside ours."""
