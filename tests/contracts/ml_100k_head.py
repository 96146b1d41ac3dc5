"""The head of the ml-100k that comes with RecBole, with the files that models with features or entities read."""

from pathlib import Path

import pandas as pd
import recbole
import torch

NAME = "head"
USERS, LATEST = 60, 40  # the last interactions of the first users: 2,400 of them
WIDTH = 16  # of the models, and of the entities' vectors

# what a model needs beyond its defaults: class is a column of the .item file
ITEM_COLUMNS = {
    "load_col": {"inter": ["user_id", "item_id", "timestamp"], "item": ["item_id", "class"]},
}
SETTINGS = dict.fromkeys(("FDSA", "GRU4RecF", "S3Rec", "SASRecF"), ITEM_COLUMNS)
SMALL = {
    "MAX_ITEM_LIST_LENGTH": 10,
    "hidden_size": WIDTH,
    "embedding_size": WIDTH,
    "inner_size": 2 * WIDTH,
    "train_batch_size": 512,
    "train_mode": "prefix",
    "epochs": 1,
}


def write_head(folder: Path) -> Path:
    """Write the dataset below ``folder``; gives ``folder``."""
    source = Path(recbole.__file__).parent / "dataset_example" / "ml-100k"
    rows = pd.read_csv(source / "ml-100k.inter", sep="\t")
    rows = rows.sort_values(["user_id:token", "timestamp:float"], kind="stable")
    rows = rows[rows["user_id:token"] <= USERS].groupby("user_id:token").tail(LATEST)
    items = pd.read_csv(source / "ml-100k.item", sep="\t")
    items = items[items["item_id:token"].isin(rows["item_id:token"])]
    tokens = items["item_id:token"].tolist()
    vectors = torch.randn(len(tokens), WIDTH, generator=torch.Generator().manual_seed(0)).tolist()
    written = [" ".join(map(str, vector)) for vector in vectors]
    tables = {
        "inter": rows,
        "item": items,
        "kg": pd.DataFrame({"head_id:token": tokens, "relation_id:token": "is", "tail_id:token": tokens}),
        "link": pd.DataFrame({"item_id:token": tokens, "entity_id:token": tokens}),
        "ent": pd.DataFrame({"ent_id:token": tokens, "ent_emb:float_seq": written}),
    }
    (folder / NAME).mkdir(parents=True)
    for suffix, table in tables.items():
        table.to_csv(folder / NAME / f"{NAME}.{suffix}", sep="\t", index=False)
    return folder
