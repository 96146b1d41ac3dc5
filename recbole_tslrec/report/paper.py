"""What the paper prints in Table 2, to stand beside what we measure."""

import functools

_METRICS = ("hit@5", "hit@10", "ndcg@5", "ndcg@10")
_DATASETS = ("beauty", "ml-1m", "yelp")

# Table 2: Llama2-13B, d 256, learning rate 1e-4, batch 1024; the paper does not say how the history is ranked
_TABLE_2 = """
POD             | .0185 .0245 .0125 .0146 | .0422 .0528 .0291 .0326 | .0476 .0564 .0330 .0358
P5              | .0569 .0791 .0403 .0474 | .2225 .3131 .1570 .1861 | .0289 .0453 .0200 .0252
LlamaRec        | .0591 .0862 .0405 .0492 | .1757 .2836 .1113 .1461 | .0416 .0605 .0306 .0367
E4SRec          | .0527 .0753 .0376 .0448 | .1871 .2765 .1234 .1522 | .0309 .0473 .0207 .0260
GRU4Rec Base    | .0369 .0590 .0267 .0329 | .2126 .2912 .1451 .1703 | .0201 .0365 .0129 .0182
GRU4Rec CI      | .0415 .0603 .0274 .0335 | .2131 .2957 .1467 .1734 | .0224 .0368 .0143 .0189
GRU4Rec TSLRec  | .0442 .0648 .0299 .0366 | .2147 .3020 .1498 .1781 | .0242 .0391 .0152 .0200
Caser Base      | .0259 .0429 .0162 .0217 | .1902 .2700 .1282 .1539 | .0181 .0325 .0113 .0159
Caser CI        | .0264 .0433 .0169 .0223 | .1894 .2722 .1293 .1558 | .0192 .0350 .0120 .0166
Caser TSLRec    | .0300 .0494 .0187 .0249 | .1949 .2762 .1331 .1593 | .0215 .0366 .0135 .0183
SASRec Base     | .0551 .0846 .0329 .0424 | .2364 .3217 .1631 .1907 | .0449 .0637 .0334 .0394
SASRec CI       | .0569 .0836 .0354 .0440 | .2315 .3257 .1619 .1924 | .0467 .0667 .0344 .0408
SASRec TSLRec   | .0585 .0854 .0371 .0458 | .2404 .3315 .1670 .1965 | .0475 .0685 .0346 .0414
FMLPRec Base    | .0577 .0866 .0361 .0455 | .2230 .3172 .1545 .1848 | .0491 .0698 .0356 .0422
FMLPRec CI      | .0575 .0868 .0365 .0459 | .2273 .3123 .1586 .1861 | .0511 .0743 .0365 .0439
FMLPRec TSLRec  | .0604 .0852 .0445 .0509 | .2341 .3192 .1626 .1901 | .0531 .0771 .0373 .0451
"""


def paper_figure(dataset: str, backbone: str, row: str, metric: str) -> float | None:
    """A figure of the paper's Table 2, or ``None`` where it has none.

    Args:
        dataset: ``beauty``, ``ml-1m`` or ``yelp``.
        backbone: ``GRU4Rec``, ``Caser``, ``SASRec`` or ``FMLPRec``; empty for the LLM baselines.
        row: ``Base``, ``CI``, ``TSLRec`` or an LLM baseline.
        metric: by RecBole's name, such as ``ndcg@10``.
    """
    figures = _figures().get(f"{backbone} {row}".strip(), {})
    return figures.get((dataset, metric))


def in_paper(dataset: str) -> bool:
    """Whether the paper's Table 2 has this dataset."""
    return dataset in _DATASETS


@functools.cache
def _figures() -> dict[str, dict[tuple[str, str], float]]:
    found = {}
    for line in _TABLE_2.strip().splitlines():
        name, *cells = (part.strip() for part in line.split("|"))
        found[name] = {
            (dataset, metric): float(figure)
            for dataset, figures in zip(_DATASETS, cells, strict=True)
            for metric, figure in zip(_METRICS, figures.split(), strict=True)
        }
    return found
