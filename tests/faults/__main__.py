"""``python -m tests.faults --minutes=30 --seed=1``: the table of faults that were tried and survived."""

import argparse
import gc
import importlib
import os
import pkgutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

os.environ.update(OMP_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false", HF_HUB_OFFLINE="1")

import torch
import transformers.models.auto.modeling_auto  # noqa: F401
from tabulate import tabulate

import recbole_tslrec
from recbole_tslrec.configuration.config import known_keys
from recbole_tslrec.sft.cost import matmul_speed
from tests.faults.campaign import kill_at_every_place, kill_everywhere, run_campaign
from tests.faults.runs import FAMILIES

parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
parser.add_argument("--minutes", type=float, default=30.0, help="how long (default: 30)")
parser.add_argument("--faults", type=int, help="how many at most (default: as many as there is time for)")
parser.add_argument("--seed", type=int, default=1, help="what happens where (default: 1)")
parser.add_argument("--kill-at", choices=("changes", "places"), help="kill before every change, or once at every place")
parser.add_argument("--families", nargs="+", choices=FAMILIES, default=list(FAMILIES), help="with --kill-at: of which")
given = parser.parse_args()

# once, here, for all that are forked
for module in pkgutil.walk_packages(recbole_tslrec.__path__, "recbole_tslrec."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
known_keys()
matmul_speed(torch.device("cpu"), torch.float32)
gc.freeze()  # nor need they look at what the libraries have left
memory = Path("/dev/shm")  # a killed process needs no disk to lose its work
with TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
    folder = Path(name).resolve()
    if given.kill_at:
        campaign = {"changes": kill_everywhere, "places": kill_at_every_place}[given.kill_at](folder, given.families)
    else:
        campaign = run_campaign(folder, given.seed, given.minutes, given.faults)
rows = [(kind, tried, tried - len(campaign.failed.get(kind, []))) for kind, tried in campaign.tried.items()]
rows.append(("all", sum(row[1] for row in rows), sum(row[2] for row in rows)))
sys.stdout.write(f"{tabulate(rows, headers=['fault', 'tried', 'survived'])}\n")
for what in (what for kind in campaign.failed.values() for what in kind):
    sys.stdout.write(f"\n{what}\n")
sys.exit(bool(campaign.failed))
