"""What a repository on the hub says of item vectors: the data, counts, settings and figures, from the manifests.

The figures are those of the evaluations beside the artifact: of the model itself, of models that fuse it, and of the
backbone that all of it started from, without which no figure says anything.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from tabulate import tabulate

from recbole_tslrec.evaluation.metrics import in_order, label
from recbole_tslrec.evaluation.result_files import METRICS
from recbole_tslrec.serving.saved_model import KINDS
from recbole_tslrec.store.artifacts import MANIFEST, Artifact
from recbole_tslrec.store.files import read_json
from recbole_tslrec.version import __version__

TAGS = ["recommendation", "sequential-recommendation", "item-embeddings", "recbole", "tslrec"]
_WHAT = {
    "knowledge": "Knowledge vectors of items: {shape}, made for the gate of a TSLRec model.",
    "recommender": "The items as the trained model {model} scores them: {shape}.",
    "backbone": "The items as the trained model {model} scores them: {shape}.",
}


def model_card(artifact: Artifact, repo: str, license: str, shape: Sequence[int]) -> str:
    """The text of the repository's ``README.md``.

    Args:
        artifact: what is pushed, or what the pushed table was made from.
        repo: owner and name.
        license: the license of the vectors, by the hub's identifier.
        shape: of the table of vectors.
    """
    manifest = artifact.manifest
    data, settings = manifest["dataset"], without_local_paths(manifest["settings"])
    head = {"library_name": "recbole_tslrec", "license": license, "tags": TAGS}
    what = _WHAT[manifest["kind"]].format(shape=f"{shape[0]:,} x {shape[1]}", model=settings.get("model"))
    given = {name: value for name, value in settings.items() if value not in (None, [], "")}
    figures = _figures_table(artifact)
    return f"""---
{yaml.safe_dump(head, sort_keys=False).strip()}
---

# {repo.partition("/")[2]}

{what} Rows belong to item ids, as the data set `{data["name"]}` has them.

```
python -m recbole_tslrec --model=TSLRecSASRec --dataset={data["name"]} --knowledge_path=hf://{repo}
```

## Data

{tabulate(_counts(data), ["", data["name"]], tablefmt="github", intfmt=",", disable_numparse=[0])}

Fingerprint of the interactions that were used: `{data["fingerprint"]}`.

## Figures

{figures or "No evaluation was found beside these vectors."}

## Settings

Made by recbole_tslrec {manifest["versions"].get("recbole_tslrec", __version__)} in {artifact.seconds:.0f} s on \
{manifest["device"]}, seed {manifest["seed"]}.

```yaml
{yaml.safe_dump(given, sort_keys=False, allow_unicode=True).strip()}
```
"""


def without_local_paths(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings in which a path of this machine, such as that of an LLM, is the name of its last part alone."""
    return {key: Path(value).name if _is_local_path(value) else value for key, value in settings.items()}


def evaluations(artifact: Artifact) -> list[tuple[str, Artifact]]:
    """The evaluations in the same folder of artifacts that tell what an artifact is worth.

    Returns:
        The model's name and the evaluation, backbones first.
    """
    beside = {each.hash: each for each in _readable(artifact.folder.parent)}
    beside[artifact.hash] = artifact
    ancestors = set(_ancestors(artifact.hash, beside))
    names = {
        own: str(each.manifest["settings"]["model"])
        for own, each in beside.items()
        if (each.manifest["kind"] == "backbone" and own in ancestors)
        or (each.manifest["kind"] == "recommender" and artifact.hash in each.manifest["parents"].values())
        or (each.manifest["kind"] in KINDS and own == artifact.hash)
    }
    found = [
        (names[model], each)
        for each in beside.values()
        if each.manifest["kind"] == "evaluation"
        for model in names.keys() & set(each.manifest["parents"].values())
    ]
    return sorted(found, key=lambda pair: (_row(pair[1]) != "Base", pair[0], _row(pair[1])))


def _figures_table(artifact: Artifact) -> str:
    lines: list[list[Any]] = []
    names: dict[str, None] = {}
    for model, evaluation in evaluations(artifact):
        for mode, figures in read_json(evaluation.folder / METRICS)["test"].items():
            names.update(dict.fromkeys(figures))
            lines.append([_row(evaluation), model, evaluation.manifest["seed"], mode, figures])
    if not lines:
        return ""
    order = in_order(names)
    rows = [[*line, *(figures.get(name, "") for name in order)] for *line, figures in lines]
    header = ["row", "model", "seed", "history", *map(label, order)]
    table: str = tabulate(rows, header, tablefmt="github", floatfmt=".4f")
    return f"On the test items, all items ranked. One seed each: no test of a difference.\n\n{table}"


def _row(evaluation: Artifact) -> str:
    return str(evaluation.manifest["settings"]["row"])


def _counts(data: Mapping[str, Any]) -> list[tuple[str, int]]:
    return [(name, data[name]) for name in ("users", "items", "interactions") if name in data]


def _readable(root: Path) -> Iterator[Artifact]:
    for path in sorted(root.glob(f"*/{MANIFEST}")):
        if path.parent.name.endswith((".partial", ".previous")):
            continue
        with suppress(ValueError, OSError):  # another one's damage
            manifest = read_json(path)
            if isinstance(manifest, dict) and {"kind", "files", "parents", "settings"} <= manifest.keys():
                yield Artifact(path.parent, manifest)


def _ancestors(of: str, artifacts: Mapping[str, Artifact]) -> Iterator[str]:
    for parent in artifacts[of].manifest["parents"].values():
        if parent in artifacts:
            yield parent
            yield from _ancestors(parent, artifacts)


def _is_local_path(value: Any) -> bool:
    return isinstance(value, str) and (Path(value).is_absolute() or (value != "" and Path(value).exists()))
