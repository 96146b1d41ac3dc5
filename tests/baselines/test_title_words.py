"""The tokens of LlamaRec's prompts where its decoder starts from random weights."""

from recbole_tslrec.baselines.ranking_prompt import LETTERS, build_ranking_prompt
from recbole_tslrec.baselines.title_words import title_tokenizer

TITLES = ["Toy Story (1995)", "Se7en", "Amélie, A Tale"]


def test_a_token_is_a_word_or_up_to_two_digits_or_another_sign() -> None:
    tokenizer = title_tokenizer(TITLES)
    assert tokenizer.tokenize(TITLES[0]) == ["Toy", "Story", "(", "19", "95", ")"]
    assert tokenizer.tokenize(TITLES[1]) == ["Se", "7", "en"]
    assert tokenizer.tokenize(TITLES[2]) == ["Amélie", ",", "A", "Tale"]


def test_every_word_of_a_prompt_is_known() -> None:
    tokenizer = title_tokenizer(TITLES)
    prompt = build_ranking_prompt(tokenizer, TITLES, title_tokens=32)
    tokens = [*prompt.instruction, *prompt.segment([1, 2, 3], [3, 1]), *prompt.letters]
    assert tokenizer.unk_token_id not in tokens
    assert max(tokens) < prompt.vocabulary == len(tokenizer)
    assert [tokenizer.convert_ids_to_tokens(int(token)) for token in prompt.letters] == list(LETTERS)


def test_the_order_of_titles_does_not_matter() -> None:
    """A ranker that is loaded for another dataset with the same items reads the same words."""
    assert title_tokenizer(TITLES).get_vocab() == title_tokenizer(TITLES[::-1]).get_vocab()
