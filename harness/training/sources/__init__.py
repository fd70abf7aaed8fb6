"""Where training images come from, each with its text and label."""
