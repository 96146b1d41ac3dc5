"""Training and ranking of sequential recommenders: RecBole's results without its waste."""
