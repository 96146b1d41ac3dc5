"""Names of models: a family and a backbone."""

import pytest

from recbole_tslrec.models.backbones import BACKBONES, REFUSED
from recbole_tslrec.models.names import added_model_names, parse_model_name


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("TSLRecGRU4Rec", ("TSLRec", "GRU4Rec")),
        ("TSLRecCaser", ("TSLRec", "Caser")),
        ("TSLRecSASRec", ("TSLRec", "SASRec")),
        ("TSLRecFMLPRec", ("TSLRec", "FMLPRec")),
        ("P2RecSASRec", ("TSLRec", "SASRec")),
        ("CIGRU4Rec", ("CI", "GRU4Rec")),
        ("CIFMLPRec", ("CI", "FMLPRec")),
        ("FMLPRec", ("Base", "FMLPRec")),
        ("SASRec", ("Base", "SASRec")),
        ("TSLRecBERT4Rec", ("TSLRec", "BERT4Rec")),
        ("P2RecS3Rec", ("TSLRec", "S3Rec")),
        ("CIGRU4RecKG", ("CI", "GRU4RecKG")),
        ("BERT4Rec", ("Base", "BERT4Rec")),
    ],
)
def test_name_splits_into_family_and_backbone(name: str, split: tuple[str, str]) -> None:
    assert (parse_model_name(name).family.name, parse_model_name(name).backbone) == split


@pytest.mark.parametrize("name", ["TSLRec", "TSLRecPop", "tslrecsasrec", "SASRecTSLRec", "BPR", ""])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=rf"model \[{name}\] does not exist"):
        parse_model_name(name)


@pytest.mark.parametrize("family", ["TSLRec", "CI", "P2Rec"])
@pytest.mark.parametrize("backbone", ["DIN", "DIEN", "KSR"])
def test_model_that_cannot_be_made_says_why(family: str, backbone: str) -> None:
    with pytest.raises(ValueError, match=rf"model \[{family}{backbone}\] cannot be made .*{REFUSED[backbone]}"):
        parse_model_name(family + backbone)


def test_each_family_has_each_backbone() -> None:
    combined = {family + backbone for family in ("TSLRec", "CI", "P2Rec") for backbone in BACKBONES}
    assert set(added_model_names()) == {"BSARec", "FMLPRec", "HSTU", "LiGR", "LRURec", "WEARec"} | combined


def test_canonical_name_of_an_alias() -> None:
    assert str(parse_model_name("P2RecSASRec")) == "TSLRecSASRec"
