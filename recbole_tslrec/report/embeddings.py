"""Two-dimensional maps of the items' stage-0 vectors and of their knowledge vectors, coloured by k-means group."""

from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from recbole_tslrec.experiments.command import Command
from recbole_tslrec.experiments.jobs import trials_of
from recbole_tslrec.experiments.protocol import quoted_protocol
from recbole_tslrec.experiments.runner import outcomes
from recbole_tslrec.experiments.trials import Outcome
from recbole_tslrec.report.fig4 import by_size
from recbole_tslrec.report.item_features import item_titles
from recbole_tslrec.report.page import Page, Section
from recbole_tslrec.report.plots import new_figure
from recbole_tslrec.store.artifacts import open_artifact, rows_of_tokens

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_ITEMS = 5_000  # drawn; more make the page slow and the points one


@dataclass(frozen=True)
class Map:
    """Places in the plane.

    Attributes:
        name: the name of the vectors.
        method: how they were laid out, and how much of them is seen.
        places: [n, 2].
    """

    name: str
    method: str
    places: NDArray[np.float32]


@dataclass(frozen=True)
class Items:
    """The items that are drawn.

    Attributes:
        tokens: external, [n].
        titles: empty where an item has none, [n].
        groups: k-means groups, numbered by size from 0, int64 [n].
        group_count: K.
    """

    tokens: list[str]
    titles: list[str]
    groups: NDArray[np.int64]
    group_count: int


def build(command: Command) -> Page:
    """One section per dataset and backbone, of the first seed.

    Raises:
        ConfigError: item vectors are given.
        ArtifactError: a run has no groups or knowledge.
    """
    command.check_own_knowledge()
    trials = trials_of(replace(command, rows=("TSLRec",), seeds=command.seeds[:1]))
    sections = [maps_section(outcome, command) for outcome in outcomes(trials, command)]
    return Page("embeddings", "Maps of stage-0 and knowledge vectors", quoted_protocol(command), sections)


def maps_section(outcome: Outcome, command: Command) -> Section:
    """Both maps of a run, side by side."""
    trial = outcome.trial
    groups = open_artifact(outcome.folder("groups"), "groups")
    tokens = groups.item_tokens()
    drawn = sample(len(tokens), trial.seed)
    kept = [tokens[row] for row in drawn]
    grouping = groups.tensors()
    group_count = len(grouping["centers"])
    rank = np.argsort(by_size(grouping["groups"].numpy(), group_count))  # of each group
    titles = item_titles(command.config(dataset=trial.dataset), kept)
    items = Items(kept, titles, rank[grouping["groups"].numpy()[drawn]], group_count)
    maps = [
        plane(name, vectors(outcome, stage, tensor, kept), trial.seed)
        for name, stage, tensor in (
            ("stage-0 vectors", "item_embeddings", "item_embeddings"),
            ("knowledge vectors", "knowledge", "knowledge"),
        )
    ]
    text = f"{len(drawn)} of {len(tokens)} items, coloured by k-means group (K = {group_count}), seed {trial.seed}. "
    text += " ".join(f"{each.name}: {each.method}." for each in maps)
    name = f"{trial.dataset} {trial.backbone}"
    return Section(name, text, figure=still(maps, items), interactive=interactive(maps, items, name))


def sample(count: int, seed: int) -> NDArray[np.int64]:
    """Which of ``count`` items are drawn: all, or :data:`MOST_ITEMS` of them by chance, in order."""
    if count <= MOST_ITEMS:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, MOST_ITEMS, replace=False))


def vectors(outcome: Outcome, stage: str, tensor: str, tokens: list[str]) -> NDArray[np.float32]:
    """The rows of some items in a stage's table, [n, width]."""
    artifact = open_artifact(outcome.folder(stage), stage)
    rows = rows_of_tokens(artifact.item_tokens(), tokens, artifact.folder)
    found: NDArray[np.float32] = artifact.tensors()[tensor][rows].numpy()
    return found


def plane(name: str, rows: NDArray[np.float32], seed: int) -> Map:
    """Lay vectors out in the plane: by UMAP where it is installed, else on their first two principal components.

    Args:
        name: the name of the vectors.
        rows: [n, width].
        seed: the seed of the layout.
    """
    if find_spec("umap") is not None:
        from umap import UMAP

        return Map(name, "UMAP", UMAP(random_state=seed, n_jobs=1).fit_transform(rows))
    components = PCA(2, random_state=seed)
    places = components.fit_transform(rows)
    seen = components.explained_variance_ratio_.sum()
    return Map(name, f"PCA, two components hold {seen:.0%} of the variance", places)


def still(maps: list[Map], items: Items) -> "Figure":
    """The maps as a figure."""
    figure, [row] = new_figure(5.5 * len(maps), 5, 1, len(maps))
    for axes, each in zip(row, maps, strict=True):
        colour = items.groups / max(items.group_count - 1, 1)
        # as pixels also in the SVG, which thousands of points would make heavy
        axes.scatter(*each.places.T, c=colour, cmap="turbo", s=4, linewidths=0, rasterized=True)
        axes.set_title(f"{each.name}\n{each.method}", fontsize=10)
        axes.set_xticks([])
        axes.set_yticks([])
    return figure


def interactive(maps: list[Map], items: Items, name: str) -> str:
    """The maps as html, without plotly's own script; a point shows its item and group.

    Args:
        maps: side by side.
        items: the items of each point.
        name: unique in a page.
    """
    from plotly.graph_objects import Figure, Scattergl
    from plotly.subplots import make_subplots

    drawing: Figure = make_subplots(1, len(maps), subplot_titles=[each.name for each in maps])
    for column, each in enumerate(maps, start=1):
        points = Scattergl(
            x=each.places[:, 0].round(3).tolist(),
            y=each.places[:, 1].round(3).tolist(),
            mode="markers",
            marker={"size": 4, "color": items.groups.tolist(), "colorscale": "Turbo"},
            text=hover_texts(items),
            hoverinfo="text",
        )
        drawing.add_trace(points, row=1, col=column)
    drawing.update_layout(showlegend=False, height=520, margin={"l": 20, "r": 20, "t": 40, "b": 20})
    clear = "rgba(0,0,0,0)"  # the page may be light or dark
    drawing.update_layout(template="none", paper_bgcolor=clear, plot_bgcolor=clear, font_color="#808890")
    drawing.update_xaxes(gridcolor="rgba(128,136,144,.3)", zeroline=False)
    drawing.update_yaxes(gridcolor="rgba(128,136,144,.3)", zeroline=False)
    return str(drawing.to_html(full_html=False, include_plotlyjs=False, div_id=f"map-{name.replace(' ', '-')}"))


def hover_texts(items: Items) -> list[str]:
    """What a point says of its item."""
    from html import escape

    return [
        f"{escape(token)}{': ' * bool(title)}{escape(title)}<br>group {group}"
        for token, title, group in zip(items.tokens, items.titles, items.groups, strict=True)
    ]
