"""Section 4.2 of the paper: information augmentation."""
