"""The words of titles, as the tokens of a decoder that starts from random weights."""

from collections.abc import Sequence
from typing import Any

import transformers
from tokenizers import Regex, Tokenizer, models, pre_tokenizers

from recbole_tslrec.baselines.ranking_prompt import PARTS

_BEGIN, _UNKNOWN = "<s>", "<unk>"
_PIECES = Regex(r"[^\W\d_]+|\d{1,2}|[\s\S]")  # a word, one or two digits, or another sign


def title_tokenizer(titles: Sequence[str]) -> Any:
    """A token for each word, each one or two digits and each other sign of LlamaRec's prompts; none for a blank.

    Bytes, the tokens that ``scratch`` has elsewhere, make prompts of titles some five times as long.

    Args:
        titles: of all items, in any order.
    """
    blanks = pre_tokenizers.Split(" ", behavior="removed")
    split = pre_tokenizers.Sequence([blanks, pre_tokenizers.Split(_PIECES, behavior="isolated")])
    pieces = sorted({piece for text in (*PARTS, *titles) for piece, _ in split.pre_tokenize_str(text)})
    tokens = {piece: number for number, piece in enumerate([_BEGIN, _UNKNOWN, *pieces])}
    tokenizer = Tokenizer(models.WordLevel(tokens, unk_token=_UNKNOWN))
    tokenizer.pre_tokenizer = split
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=_BEGIN, unk_token=_UNKNOWN)
