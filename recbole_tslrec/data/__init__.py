"""The paper's datasets from the files that people have, and what a dataset is like."""
