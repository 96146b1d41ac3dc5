"""The prompt's text parts."""

import pytest

from recbole_tslrec.llm.loading import byte_level_tokenizer
from recbole_tslrec.llm.prompt import build_prompt


def test_group_count_is_filled_in_and_bos_comes_first() -> None:
    tokenizer = byte_level_tokenizer()
    prompt = build_prompt(tokenizer, "among {group_count}", "Response:", 12)
    assert prompt.instruction[0] == tokenizer.bos_token_id
    assert tokenizer.decode(prompt.instruction[1:]) == "among 12"
    assert tokenizer.decode(prompt.response) == "Response:"


def test_byte_level_tokenizer_knows_every_byte() -> None:
    tokenizer = byte_level_tokenizer()
    text = "naïve Ω 漢字 🙂\n"
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert len(ids) == len(text.encode())
    assert tokenizer.decode(ids) == text


def test_room_for_items_is_what_the_text_leaves() -> None:
    prompt = build_prompt(byte_level_tokenizer(), "abc", "R:", 2)  # BOS and 3 bytes, 2 bytes
    assert prompt.max_items(context_length=10) == 4
    assert prompt.max_items(context_length=10, longest_text=1) == 2
    with pytest.raises(ValueError, match=r"no room for an item \(of 5\)"):
        prompt.max_items(context_length=10, longest_text=4)
    with pytest.raises(ValueError, match="shorten prompt_instruction"):
        prompt.max_items(context_length=6)


@pytest.mark.parametrize(("instruction", "response"), [("a", "")])
def test_empty_response_is_refused(instruction: str, response: str) -> None:
    with pytest.raises(ValueError, match="must not be empty"):
        build_prompt(byte_level_tokenizer(), instruction, response, 2)
