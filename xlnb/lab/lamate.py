"""A light decoder that translates what the lab's frozen base has read: the base is the encoder
(LaMaTE, arXiv 2503.06594).

The states of the base's layers are gated and normed together, RMSNorm(Σ_g σ(w_g) h_g / G); a linear
map and a bidirectional layer make a source of them that a small decoder attends to. There the base
has 8 billion parameters, every fourth layer counts, and a second stage trains all weights; here it
has 2 million, every layer counts, and the base stays as it is.
"""

import random
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, gelu
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedTokenizerBase

from xlnb.lab.world import load_world

WIDTH = 128
HEADS = 4
LAYERS = 2
# tokens of a translation
LONGEST = 64
# label that cross-entropy skips
IGNORED = -100


class Pair(NamedTuple):
    """A sentence, and the same in another language."""

    source: str
    target: str
    lang: str


class Lamate(nn.Module):
    """The decoder, and what stands between it and the base. `fused`: all layers' states, gated;
    else the last layer's alone."""

    def __init__(self, base: Any, tokenizer: PreTrainedTokenizerBase, *, fused: bool = True):
        super().__init__()
        # in a list, so that its weights are none of this module's
        self._base = [base]
        self._read: dict[str, Tensor] = {}
        self.tokenizer = tokenizer
        self.langs = load_world().langs
        groups = base.config.num_hidden_layers if fused else 1
        self.gates = nn.Parameter(torch.zeros(groups))
        self.norm = nn.RMSNorm(base.config.hidden_size)
        self.narrow = nn.Linear(base.config.hidden_size, WIDTH)
        shape: dict[str, Any] = {"d_model": WIDTH, "nhead": HEADS, "dim_feedforward": 4 * WIDTH}
        shape |= {"dropout": 0.0, "activation": "gelu", "batch_first": True, "norm_first": True}
        self.reader = nn.TransformerEncoderLayer(**shape)
        self.decoder = nn.TransformerDecoder(
            nn.TransformerDecoderLayer(**shape), LAYERS, norm=nn.LayerNorm(WIDTH)
        )
        # behind the base's vocabulary a token for each language to translate into
        self.words = nn.Embedding(base.config.vocab_size + len(self.langs), WIDTH)
        self.places = nn.Embedding(LONGEST + 1, WIDTH)
        nn.init.normal_(self.words.weight, std=WIDTH**-0.5)

    def read(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """(B, T, WIDTH) states of the texts, each as a user's turn, and a (B, T) mask of what is no
        text."""
        states = [self._states(text) for text in texts]
        padded = pad_sequence(states, batch_first=True)
        lengths = torch.tensor([len(one) for one in states])
        absent = torch.arange(padded.shape[1]) >= lengths[:, None]
        gated = self.gates.sigmoid()[:, None] * padded
        fused = self.norm(gated.mean(2))
        return self.reader(gelu(self.narrow(fused)), src_key_padding_mask=absent), absent

    def _states(self, text: str) -> Tensor:
        """(T, G, D) states of the base's layers. It is frozen and reads from left to right, so that
        a text's are worked out once."""
        if text not in self._read:
            tokenizer = self.tokenizer
            user = tokenizer.convert_tokens_to_ids("<|user|>")
            ids = tokenizer.encode(text, add_special_tokens=False)
            row = torch.tensor([[tokenizer.bos_token_id, user, *ids, tokenizer.eos_token_id]])
            with torch.no_grad():
                output = self._base[0].model(input_ids=row, output_hidden_states=True)
            layers = output.hidden_states[-len(self.gates) :]
            self._read[text] = torch.stack([layer[0] for layer in layers], 1)
        return self._read[text]

    def forward(self, source: Tensor, absent: Tensor, target: Tensor) -> Tensor:
        """(B, T, V) logits of the token behind each of `target`, which begins with a language."""
        length = target.shape[1]
        places = torch.arange(length)
        ahead = torch.ones(length, length, dtype=torch.bool).triu(1)
        states = self.decoder(
            self.words(target) + self.places(places),
            source,
            tgt_mask=ahead,
            memory_key_padding_mask=absent,
        )
        return states @ self.words.weight.T

    def loss(self, pairs: Sequence[Pair]) -> Tensor:
        """Cross-entropy of the translations' tokens and of their ends, nats a token."""
        rows = []
        for pair in pairs:
            ids = self.tokenizer.encode(pair.target, add_special_tokens=False)
            rows.append([self._first(pair.lang), *ids, self.tokenizer.eos_token_id])
        ids, absent = _padded(rows, self.tokenizer.pad_token_id)
        labels = ids.masked_fill(absent, IGNORED)[:, 1:]
        logits = self(*self.read([pair.source for pair in pairs]), ids[:, :-1])
        return cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED)

    @torch.no_grad()
    def translate(self, texts: Sequence[str], lang: str) -> list[str]:
        """The likeliest token each time, until the end of turn."""
        source, absent = self.read(texts)
        ids = torch.full((len(texts), 1), self._first(lang))
        ended = torch.zeros(len(texts), dtype=torch.bool)
        while not ended.all() and ids.shape[1] <= LONGEST:
            following = self(source, absent, ids)[:, -1].argmax(-1)
            following[ended] = self.tokenizer.eos_token_id
            ended |= following == self.tokenizer.eos_token_id
            ids = torch.cat([ids, following[:, None]], 1)
        return self.tokenizer.batch_decode(ids[:, 1:], skip_special_tokens=True)

    def _first(self, lang: str) -> int:
        return self.words.num_embeddings - len(self.langs) + self.langs.index(lang)


def _padded(rows: Sequence[list[int]], pad: int) -> tuple[Tensor, Tensor]:
    """(B, T) ids, and a mask of what fills them up."""
    width = max(map(len, rows))
    ids = torch.tensor([[*row, *[pad] * (width - len(row))] for row in rows])
    lengths = torch.tensor([len(row) for row in rows])
    return ids, torch.arange(width) >= lengths[:, None]


def parallel_sentences(split: str) -> list[dict[str, str]]:
    """By language, questions about the facts of a split and the sentences that answer them."""
    world = load_world()
    found = []
    for fact in world.facts:
        if fact.split == split:
            for phrasing in range(len(world.questions[fact.kind]["en"])):
                found.append({lang: world.question(fact, lang, phrasing) for lang in world.langs})
            for number in range(len(world.answers[fact.kind]["en"])):
                said = {
                    lang: world.sentence(fact, lang, fact.y[lang], number) for lang in world.langs
                }
                found.append(said)
    return found


def pairs_with_english(sentences: Sequence[dict[str, str]]) -> list[Pair]:
    """Of each sentence its translations into English and from it."""
    found = []
    for said in sentences:
        for lang, text in said.items():
            if lang != "en":
                found += [Pair(text, said["en"], "en"), Pair(said["en"], text, lang)]
    return found


def train(model: Lamate, pairs: Sequence[Pair], *, steps: int, batch: int, seed: int) -> float:
    """Train in place by AdamW, with a warm-up and a fall to nothing; the last 50 steps' mean
    loss."""
    rng = random.Random(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    losses = []
    for _ in range(steps):
        loss = model.loss(rng.sample(pairs, batch))
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return sum(losses[-50:]) / len(losses[-50:])
