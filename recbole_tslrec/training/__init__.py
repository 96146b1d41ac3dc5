"""Training of recommenders, and what all trainers of this package share."""
