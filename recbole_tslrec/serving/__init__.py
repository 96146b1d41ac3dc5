"""A trained recommender in use: new users, new items, other formats."""
