"""The rows of a training batch: a row a response, padded, or packed so that little is.

    padded     pad x1 x2 x3 | y1 y2 end         all responses of a batch begin in one column
               pad x1 x2 x3 | z1 end pad
               u1 u2 u3 u4  | v1 end pad

    packed     x1 x2 x3 | y1 y2 | z1            each prompt once, before all its responses; what is
               u1 u2 u3 u4 | v1 pad             short shares a row

In a packed row a token sees its own prompt and its own response up to itself, and positions go on
from the prompt in each response: log-probabilities and gradients are those of the padded rows, but
for the rounding of sums. A response's last token predicts nothing and is left out.
"""

from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from xlnb.models.batches import SAVING, Rows
from xlnb.models.caches import keeps_keys_alone, layers_of


def collate(prompts: Rows, responses: Rows) -> dict[str, Tensor]:
    """Padded rows: `input_ids`, `attention_mask` and `position_ids`, each (B, P + R), and
    `response_mask` (B, R). Padding ids are 0; nothing reads them."""
    before = max(map(len, prompts))
    after = max(map(len, responses))
    input_ids = torch.zeros(len(prompts), before + after, dtype=torch.long)
    attention_mask = torch.zeros_like(input_ids)
    for row, (prompt, response) in enumerate(zip(prompts, responses, strict=True)):
        span = slice(before - len(prompt), before + len(response))
        input_ids[row, span] = torch.tensor([*prompt, *response])
        attention_mask[row, span] = 1
    return {
        "input_ids": input_ids,
        "attention_mask": attention_mask,
        "position_ids": (attention_mask.cumsum(1) - 1).clamp(min=0),
        "response_mask": attention_mask[:, before:].float(),
    }


class Inputs(NamedTuple):
    """What a model's body is given, and where its states predict response tokens."""

    body: dict[str, Tensor]
    # picks, of the states of all rows end to end, those that predict the responses' tokens, one
    # response after the other
    predictors: Tensor


def inputs_of(causal: Any, batch: dict[str, Tensor]) -> Inputs:
    """A batch of `collate` packed, where the model can be run so and enough work is saved; else as
    it is."""
    packed = Packed(*_unpadded(batch))
    if packed.size <= SAVING * batch["input_ids"].numel() and _takes_masks(causal, packed.width):
        return packed.inputs(causal)
    mask = batch["response_mask"].bool()
    # Columns P-1 … P+R-2 predict columns P … P+R-1.
    predictors = torch.zeros_like(batch["input_ids"], dtype=torch.bool)
    predictors[:, -mask.shape[1] - 1 : -1] = mask
    given = ["input_ids"]
    # Without padding on the left no token sees any, and attention needs no mask: faster on most
    # devices.
    if not batch["attention_mask"][:, 0].all():
        given += ["attention_mask", "position_ids"]
    return Inputs({name: batch[name] for name in given}, predictors.flatten())


def _unpadded(batch: dict[str, Tensor]) -> tuple[Rows, Rows]:
    """The prompts and the responses of a batch of `collate`."""
    prompts = []
    responses = []
    ends = batch["response_mask"].sum(1).int().tolist()
    for ids, attended, end in zip(
        batch["input_ids"].tolist(), batch["attention_mask"].tolist(), ends, strict=True
    ):
        tokens = [token for token, real in zip(ids, attended, strict=True) if real]
        prompts.append(tokens[:-end])
        responses.append(tokens[-end:])
    return prompts, responses


class Packed:
    """Rows of one width, into which prompts with their responses are laid, the longest first, each
    where there is space."""

    def __init__(self, prompts: Rows, responses: Rows):
        self.responses = responses
        # the responses to each prompt
        self.trees: dict[tuple[int, ...], list[int]] = {}
        for i, prompt in enumerate(prompts):
            self.trees.setdefault(tuple(prompt), []).append(i)
        sizes = {}
        for prompt, members in self.trees.items():
            sizes[prompt] = len(prompt) + sum(len(responses[i]) - 1 for i in members)
        self.width = max(sizes.values())
        # the prompts of each row
        self.rows: list[list[tuple[int, ...]]] = []
        left: list[int] = []
        for prompt in sorted(sizes, key=lambda prompt: -sizes[prompt]):
            row = next((i for i, space in enumerate(left) if space >= sizes[prompt]), len(left))
            if row == len(left):
                self.rows.append([])
                left.append(self.width)
            self.rows[row].append(prompt)
            left[row] -= sizes[prompt]

    @property
    def size(self) -> int:
        """Tokens to run, padding included."""
        return len(self.rows) * self.width

    def inputs(self, causal: Any) -> Inputs:
        device = causal.device
        lines = []
        predictors: list[list[int]] = [[]] * len(self.responses)
        for number, prompts in enumerate(self.rows):
            line = Line([], [], [], [])
            before = number * self.width
            for prompt in prompts:
                root = line.add(prompt, 0)
                last = before + root + len(prompt) - 1
                for i in self.trees[prompt]:
                    rest = self.responses[i][:-1]
                    start = before + line.add(rest, len(prompt), root)
                    predictors[i] = [last, *range(start, start + len(rest))]
            lines.append(line)
        columns = zip(*lines, strict=True)
        ids, positions, parts, roots = (padded(column).to(device) for column in columns)
        seen = (parts[:, None] == parts[:, :, None]) | (parts[:, None] == roots[:, :, None])
        # (rows, 1, width, width): whether a token, in the third place, sees another, in the fourth
        mask = seen.tril()[:, None]
        if attention(causal.config) == "eager":
            # It adds the mask to the scores.
            dtype = causal.get_input_embeddings().weight.dtype
            mask = torch.where(mask, 0.0, torch.finfo(dtype).min).to(dtype)
        given = {"input_ids": ids, "position_ids": positions, "attention_mask": mask}
        return Inputs(given, torch.tensor([*chain(*predictors)], device=device))


def padded(rows: Sequence[list[int]]) -> torch.Tensor:
    """(rows, longest), with zeros behind the shorter ones."""
    return pad_sequence([torch.tensor(row) for row in rows], batch_first=True)


class Line(NamedTuple):
    """A packed row in the making, a value a token in each list."""

    ids: list[int]
    positions: list[int]
    # where the token's prompt or response begins, from 1: padding, 0, is by itself
    parts: list[int]
    # where its prompt begins
    roots: list[int]

    def add(self, tokens: Any, position: int, root: int | None = None) -> int:
        """Append a prompt, or a response to the prompt that begins at `root`; gives its place."""
        start = len(self.ids)
        self.ids.extend(tokens)
        self.positions.extend(range(position, position + len(tokens)))
        self.parts.extend([start + 1] * len(tokens))
        self.roots.extend([(start if root is None else root) + 1] * len(tokens))
        return start


def attention(config: Any) -> str:
    """The implementation that a loaded model uses, for which transformers has no public name."""
    return config._attn_implementation  # noqa: SLF001


def _takes_masks(causal: Any, width: int) -> bool:
    """Whether a mask and positions are all that tells the model of a row of this width which token
    sees which.

    Not where attention makes its mask itself (FlashAttention), where a layer's window is narrower,
    where a layer keeps a state, and where the model does not turn keys by their position.
    """
    if not keeps_keys_alone(causal):
        return False
    config = causal.config.get_text_config()
    if attention(config) not in ("sdpa", "eager"):
        return False
    if not getattr(config, "rope_parameters", None) or getattr(config, "alibi", False):
        return False
    windows = [getattr(layer, "sliding_window", width) for layer in layers_of(causal)]
    return width <= min(windows, default=width)
