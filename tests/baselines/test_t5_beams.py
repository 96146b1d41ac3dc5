"""The decoder of many beams against transformers' own, prefix by prefix."""

import pytest
import torch
from transformers import T5Config, T5ForConditionalGeneration

from recbole_tslrec.baselines.beam_search import beam_search
from recbole_tslrec.baselines.item_trie import ItemTrie
from recbole_tslrec.baselines.t5_beams import BeamDecoder

ITEMS = [[3, 4], [3, 5, 9], [3, 5, 8], [6, 7], [6, 9, 4, 5], [10]]


def tiny_t5(**config: object) -> T5ForConditionalGeneration:
    """Two layers of random weights in float64, without dropout."""
    torch.manual_seed(0)
    sizes = {"vocab_size": 12, "d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2}
    t5 = T5ForConditionalGeneration(
        T5Config(**{**sizes, "decoder_start_token_id": 0, "relative_attention_num_buckets": 4, **config})
    )
    for weight in t5.parameters():
        torch.nn.init.normal_(weight, std=0.5)
    return t5.double().eval()


@pytest.fixture
def encoded() -> tuple[torch.Tensor, torch.Tensor]:
    """Encoder states of three users with five, two and four tokens."""
    generator = torch.Generator().manual_seed(1)
    states = torch.randn(3, 5, 16, generator=generator, dtype=torch.float64)
    return states, torch.arange(5) < torch.tensor([[5], [2], [4]])


@pytest.mark.parametrize("config", [{}, {"tie_word_embeddings": False}, {"feed_forward_proj": "gated-gelu"}])
@torch.no_grad()
def test_all_items_have_transformers_probabilities(
    encoded: tuple[torch.Tensor, torch.Tensor], config: dict[str, object]
) -> None:
    t5, (states, is_token) = tiny_t5(**config), encoded
    found = beam_search(BeamDecoder(t5, states, is_token), ItemTrie.of(ITEMS), 3, beams=6)
    for user in range(3):
        for item, tokens in enumerate(ITEMS, start=1):
            labels = torch.tensor([tokens])
            scores = t5(
                encoder_outputs=(states[user : user + 1],),
                attention_mask=is_token[user : user + 1].long(),
                decoder_input_ids=torch.cat([torch.zeros(1, 1, dtype=torch.int64), labels[:, :-1]], dim=1),
            ).logits
            expected = scores.log_softmax(dim=-1).gather(2, labels.unsqueeze(2)).sum()
            place = found.item[user].tolist().index(item)
            torch.testing.assert_close(found.log_probability[user, place], expected, rtol=0, atol=1e-10)
