"""Loading one dataset, in a process of its own: ``loading.py stock|ours SETTINGS.json``; the answer is a line of JSON.

What is loaded is all that a training needs: files, filters, ids, the split, the loaders.
"""

import hashlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch

from measure import peak_bytes

STOCK, OURS = "stock", "ours"
MODEL, NAME = "SASRec", "scale"
ANSWER = "answer: "  # before the line of JSON


def stock(settings: dict[str, Any]) -> Any:
    """RecBole as it is installed; the package is never imported."""
    from stock import Config, create_dataset, data_preparation, init_seed  # it makes RecBole importable

    settings.pop("artifacts_dir")
    config = Config(MODEL, NAME, config_dict=settings)

    def load() -> Any:
        init_seed(config["seed"], config["reproducibility"])
        return data_preparation(config, create_dataset(config))

    return load


def ours(settings: dict[str, Any]) -> Any:
    """The package with its data stage."""
    from recbole_tslrec.configuration.config import Config
    from recbole_tslrec.data.dataset import Data

    config = Config(MODEL, NAME, [], settings)
    return lambda: Data(config, config["artifacts_dir"]).loaders


def measure(contender: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Seconds and memory of one loading, and what its parts are."""
    load, found = {STOCK: stock, OURS: ours}[contender](settings), {}

    def run() -> None:
        wall, cpu = time.perf_counter(), time.process_time()
        found["loaders"] = load()
        found.update({"seconds": time.perf_counter() - wall, "CPU seconds": time.process_time() - cpu})

    peak = peak_bytes(run, torch.device("cpu"))
    parts = [loader._dataset for loader in found.pop("loaders")]
    columns = [part.inter_feat[field].numpy() for part in parts for field in (part.uid_field, part.iid_field)]
    digest = hashlib.sha256(b"".join(column.tobytes() for column in columns)).hexdigest()
    is_stock = "recbole_tslrec" not in sys.modules
    return {**found, "peak MiB": peak / 2**20, "rows": sum(map(len, parts)), "parts": digest, "is stock": is_stock}


if __name__ == "__main__":
    contender, settings = sys.argv[1:]
    sys.argv = sys.argv[:1]  # RecBole's Config reads it
    answer = measure(contender, json.loads(Path(settings).read_text()))
    sys.stdout.write(f"{ANSWER}{json.dumps(answer)}\n")
