"""LlamaRec's ranker: a decoder with its head, read where the answer is said."""

import torch
from torch import Tensor, nn

from recbole_tslrec.baselines.ranking_prompt import RankingPrompt
from recbole_tslrec.llm.adapters import add_adapters
from recbole_tslrec.llm.layout import choose_layout
from recbole_tslrec.llm.loading import load_llm_and_head
from recbole_tslrec.llm.segment_encoder import SegmentEncoder
from recbole_tslrec.sft.network import SegmentNetwork
from recbole_tslrec.sft.settings import FineTuningSettings


class RankingNetwork(SegmentNetwork):
    """From prompts that end with their answer to the scores of the answer and of what stands behind it.

    Args:
        encoder: of prompts that share their instruction.
        head: hidden states -> scores of the next token.
    """

    def __init__(self, encoder: SegmentEncoder, head: nn.Module) -> None:
        super().__init__(encoder)
        self.head = head

    def forward(self, tokens: Tensor, token_count: Tensor) -> tuple[Tensor, Tensor]:
        """The scores of each prompt's last token and of the one behind it.

        Args:
            tokens: of each prompt behind the instruction, the answer with it, int64 [B, L]; anything behind.
            token_count: int64 [B].

        Returns:
            Hidden states [B, 2, H] and scores over the vocabulary, both in float32 or better, [B, 2, V].
        """
        is_token = torch.arange(tokens.shape[1], device=tokens.device) < token_count.unsqueeze(1)  # [B, L]
        states = self.encoder.states(self.encoder.token_embedding(tokens[is_token]), token_count)
        last = states.row.ends - 1
        hidden = states.tokens[torch.stack([last - 1, last], dim=1)]  # [B, 2, H]
        scores = self.head(hidden)
        return hidden, scores if scores.dtype == torch.float64 else scores.float()


def build_ranking_network(settings: FineTuningSettings, prompt: RankingPrompt) -> RankingNetwork:
    """The untrained ranker: the LLM with fresh adapters (scratch: without) and its own head.

    Args:
        settings: the settings of the LLM and its adapters.
        prompt: the tokens of all parts.

    Raises:
        LLMError: the LLM cannot be loaded, or does not predict the next token.
    """
    llm, head = load_llm_and_head(settings.llm, prompt.vocabulary)
    if not settings.llm.is_scratch:
        llm = add_adapters(llm, settings.lora, settings.llm.seed)
    encoder = SegmentEncoder(llm, torch.from_numpy(prompt.instruction))
    network = RankingNetwork(encoder, head).to(settings.llm.device)
    choose_layout(encoder, settings.sft_layout, prompt.most_tokens)
    return network
