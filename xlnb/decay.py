"""Temporal decay: the earlier a response's token, the more it counts (D²PO, arXiv 2502.14340).

    log π(y|x)  becomes  Σ_t γ^(t−1) log π(y_t | x, y_<t),   t = 1 … |y|

for the policy and for its reference, in DPO's loss (`training.gamma`) and in the implicit reward
(`scoring.gamma`). γ = 1 is the plain sum; as γ falls to 0 the first token alone is left. The
authors' code counts γ^t, which is this with β γ in the place of β.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

Ids = Sequence[int]


def decayed(token_logps: Tensor, gamma: float) -> Tensor:
    """The decayed sum over the last dimension, whose first place is a response's first token:
    (…, R) to (…), in nats. Padding behind a response is 0. With γ = 1 it is `sum(-1)`, to the last
    bit."""
    weights = gamma ** torch.arange(token_logps.shape[-1], device=token_logps.device)
    return (token_logps * weights).sum(-1)


def half_life(gamma: float) -> float:
    """Tokens after which a token counts half: ln ½ / ln γ; infinite for γ = 1."""
    return math.inf if gamma == 1 else math.log(0.5) / math.log(gamma)


def half_life_chars(gamma: float, responses: Iterable[tuple[str, str, Ids]]) -> dict[str, float]:
    """The half-life in characters, by language, of responses that are given as language, text and
    token ids: where words take more tokens, the same γ forgets them sooner."""
    tokens: Counter[str] = Counter()
    chars: Counter[str] = Counter()
    for lang, text, ids in responses:
        tokens[lang] += len(ids)
        chars[lang] += len(text)
    return {lang: half_life(gamma) * chars[lang] / tokens[lang] for lang in tokens}


def in_words(gamma: float, chars: Mapping[str, float]) -> str:
    """What `half_life_chars` gives, as a line to print."""
    by_language = ", ".join(f"{lang} {value:.0f}" for lang, value in chars.items())
    return f"γ {gamma:g} halves every {half_life(gamma):.1f} tokens; characters: {by_language}"
