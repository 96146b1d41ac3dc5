"""Section 4.1 of the paper: information reconstruction."""
