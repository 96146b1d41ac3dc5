"""What the package knows of a model class, and the documentation of it."""

from pathlib import Path

from recbole.model.sequential_recommender import GRU4Rec

import recbole_tslrec.models as models
from recbole_tslrec.configuration.registration import with_knowledge
from recbole_tslrec.models.backbones import BACKBONES, Backbone, backbone_of, table_of_backbones


class OwnGRU4Rec(GRU4Rec):
    """A user's own: it may score or train as it likes."""


def test_fused_and_plain_classes_of_a_backbone_are_known():
    for model in (GRU4Rec, models.GRU4Rec, models.TSLRecGRU4Rec, models.CIGRU4Rec):
        assert backbone_of(model) is BACKBONES["GRU4Rec"]


def test_nothing_is_taken_for_granted_of_an_own_class():
    for model in (OwnGRU4Rec, with_knowledge(OwnGRU4Rec)):
        assert backbone_of(model) == Backbone()


def test_documentation_holds_the_table():
    """Write it anew with ``table_of_backbones`` when the table changes."""
    document = Path(__file__).parents[2] / "docs" / "models.md"
    assert table_of_backbones() in document.read_text()
