"""Eq. 1 in either layout, with the instruction computed once or each time."""

import pytest
import torch

from recbole_tslrec.llm.encoder import PromptEncoder
from recbole_tslrec.llm.item_text import ItemText
from recbole_tslrec.llm.layout import choose_layout
from recbole_tslrec.llm.settings import LAYOUTS, PADDED, PREFIX_ROW
from tests.decoders import HIDDEN_SIZE, ITEM_SIZE, SERVED, encoder_of, tiny_decoder

COUNTS = torch.tensor([4, 1, 6])
# of the eleven items; the third and the last have none
TEXT = ItemText.of([[5], [6, 7], [], [8], [9, 9, 9], [5, 6], [7], [8], [5], [6, 9], []])


def items_of(count: int = 11, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(count, ITEM_SIZE, generator=torch.Generator().manual_seed(3), dtype=dtype)


def laid_out(layout: str, decoder: str = "Llama", dtype: torch.dtype = torch.float64) -> PromptEncoder:
    architecture, settings = SERVED[decoder]
    encoder = encoder_of(tiny_decoder(architecture, **settings)).to(dtype)
    assert choose_layout(encoder, layout) == layout
    return encoder


@pytest.mark.parametrize("decoder", SERVED)
@torch.no_grad()
def test_both_layouts_agree(decoder: str, exact_norm: None) -> None:
    row, padded = (laid_out(layout, decoder)(items_of(dtype=torch.float64), COUNTS) for layout in LAYOUTS)
    assert row.shape == (3, HIDDEN_SIZE)
    torch.testing.assert_close(row, padded, rtol=0, atol=1e-12)


@torch.no_grad()
def test_both_layouts_agree_with_texts_and_the_instruction_computed_once(exact_norm: None) -> None:
    row, padded = (laid_out(layout) for layout in LAYOUTS)
    items = items_of(dtype=torch.float64)
    expected = padded(items, COUNTS, TEXT)
    torch.testing.assert_close(row(items, COUNTS, TEXT), expected, rtol=0, atol=1e-12)
    row.compute_prefix_once()
    torch.testing.assert_close(row(items, COUNTS, TEXT), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("layout", LAYOUTS)
@torch.no_grad()
def test_a_prompt_with_text_is_what_the_llm_makes_of_it_by_hand(layout: str) -> None:
    """d_inst is 0, 1, 2 and d_res 10, 11: [0 1 2 | 5 item | 6 7 item | 10 11], without any layout."""
    encoder = laid_out(layout)
    items = items_of(2, torch.float64)
    found = encoder(items, torch.tensor([2]), ItemText.of([[5], [6, 7]]))
    word, item = encoder.token_embedding.weight, encoder.linear_proj(items)
    prompt = torch.cat([word[[0, 1, 2, 5]], item[:1], word[[6, 7]], item[1:], word[[10, 11]]])
    encoder.llm.set_attn_implementation("sdpa")
    expected = encoder.llm(inputs_embeds=prompt.unsqueeze(0), use_cache=False).last_hidden_state[:, -1]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("layout", LAYOUTS)
@torch.no_grad()
def test_the_mean_of_an_item_is_over_its_words_and_its_vector(layout: str) -> None:
    """Behind d_inst lie [5 item | 6 7 item | 10 11] and [8 item | 10 11]; the last items are at 2 to 4, and 7 and 8."""
    encoder = laid_out(layout)
    items, text = items_of(3, torch.float64), ItemText.of([[5], [6, 7], [8]])
    states = encoder.hidden_states(items, torch.tensor([2, 1]), text)
    assert states.tokens.shape == (7 + 4, HIDDEN_SIZE)
    expected = torch.stack([states.tokens[2:5].mean(dim=0), states.tokens[7:9].mean(dim=0)])
    torch.testing.assert_close(states.mean_of_item, expected.float())
    torch.testing.assert_close(encoder(items, torch.tensor([2, 1]), text), states.tokens[[6, 10]])


@pytest.mark.parametrize("layout", LAYOUTS)
@torch.no_grad()
def test_the_mean_of_an_item_without_text_is_its_vectors_state(layout: str) -> None:
    states = laid_out(layout).hidden_states(items_of(dtype=torch.float64), COUNTS)
    places = torch.tensor([3, 6, 14])  # four items, two tokens of d_res; one item, two tokens; six items
    torch.testing.assert_close(states.mean_of_item, states.tokens[places].float())


@pytest.mark.parametrize("layout", LAYOUTS)
@torch.no_grad()
def test_items_without_text_are_their_vectors_alone(layout: str) -> None:
    encoder = laid_out(layout)
    items = items_of(dtype=torch.float64)
    assert torch.equal(encoder(items, COUNTS, ItemText.of([[]] * 11)), encoder(items, COUNTS))


@pytest.mark.parametrize("decoder", SERVED)
@torch.no_grad()
def test_an_instruction_computed_once_changes_nothing(decoder: str) -> None:
    encoder = laid_out(PREFIX_ROW, decoder)
    items = items_of(dtype=torch.float64)
    expected = encoder(items, COUNTS)
    tokens = []
    encoder.llm.register_forward_pre_hook(
        lambda module, arguments, names: tokens.append(names["inputs_embeds"].shape[1]), with_kwargs=True
    )
    encoder.compute_prefix_once()
    for _ in range(2):  # it is still there the second time
        torch.testing.assert_close(encoder(items, COUNTS), expected, rtol=0, atol=1e-12)
    segments = int(COUNTS.sum()) + 3 * len(encoder.response)
    assert tokens == [len(encoder.instruction), segments, segments]


@torch.no_grad()
def test_computing_the_instruction_anew_takes_the_new_weights() -> None:
    encoder = laid_out(PREFIX_ROW)
    encoder.compute_prefix_once()
    for weight in encoder.llm.parameters():
        weight.mul_(0.5)
    encoder.compute_prefix_once()
    found = encoder(items_of(dtype=torch.float64), COUNTS)
    encoder._prefix_states = {}
    torch.testing.assert_close(found, encoder(items_of(dtype=torch.float64), COUNTS), rtol=0, atol=1e-12)


@torch.no_grad()
def test_padded_prompts_take_the_instruction_along() -> None:
    encoder = laid_out(PADDED)
    expected = encoder(items_of(dtype=torch.float64), COUNTS)
    passes = []
    encoder.llm.register_forward_hook(lambda *arguments: passes.append(1))
    encoder.compute_prefix_once()
    assert not passes
    assert torch.equal(encoder(items_of(dtype=torch.float64), COUNTS), expected)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@torch.no_grad()
def test_an_llm_in_half_precision_gives_single_precision(layout: str, dtype: torch.dtype) -> None:
    """As the export does it: the projection stays in float32."""
    encoder = laid_out(layout, dtype=torch.float32)
    expected = encoder(items_of(), COUNTS)
    encoder.llm.to(dtype)
    hidden = encoder(items_of(), COUNTS)
    assert hidden.dtype == torch.float32
    assert (hidden - expected).norm() < 0.05 * expected.norm()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_autocast_gives_single_precision_and_gradients(layout: str) -> None:
    encoder = laid_out(layout, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        hidden = encoder(items_of(), COUNTS)
    assert hidden.dtype == torch.float32
    hidden.square().sum().backward()
    assert encoder.linear_proj.weight.grad is not None
    assert torch.isfinite(encoder.linear_proj.weight.grad).all()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_checkpointed_activations_give_the_same_gradient(layout: str) -> None:
    gradients = []
    for checkpointed in (False, True):
        encoder = laid_out(layout).train()
        if checkpointed:
            encoder.checkpoint_activations()
        encoder(items_of(dtype=torch.float64), COUNTS).sum().backward()
        gradients.append(encoder.linear_proj.weight.grad)
    torch.testing.assert_close(gradients[1], gradients[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("architecture", "settings", "width"),
    [("Electra", {"embedding_size": 8}, HIDDEN_SIZE), ("OPT", {"word_embed_proj_dim": 8, "ffn_dim": 48}, 8)],
)
@torch.no_grad()
def test_hidden_states_may_be_wider_than_words(architecture: str, settings: dict[str, int], width: int) -> None:
    encoder = encoder_of(tiny_decoder(architecture, **settings))
    assert encoder.token_embedding.weight.shape[1] == 8
    assert encoder(items_of(), COUNTS).shape == (3, encoder.hidden_size) == (3, width)


@pytest.mark.parametrize(("architecture", "factor"), [("Llama", 1), ("Gemma2", HIDDEN_SIZE**0.5)])
def test_items_start_as_loud_as_words_are_to_the_layers(architecture: str, factor: float) -> None:
    """Gemma multiplies its token embeddings by the root of their width."""
    encoder = encoder_of(tiny_decoder(architecture, num_key_value_heads=2, head_dim=8))
    assert encoder.word_scale == pytest.approx(float(encoder.token_embedding.weight.detach().std()) * factor)
    start = float(encoder.linear_proj.weight.detach().std()) * 2  # a row's norm is 2
    assert start == pytest.approx(encoder.word_scale, rel=0.25)
