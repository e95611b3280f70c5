"""Encoder–decoder translators (NLLB, MADLAD, M2M100, Marian, T5). They were trained on sentences
and cut what is longer than some 512 tokens, so that a text goes through them sentence by
sentence."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from xlnb.checks.text import UNSPACED, pieces
from xlnb.common.errors import InputError
from xlnb.common.languages import language_name
from xlnb.common.records import Response
from xlnb.models.base import compute_dtype, device_of
from xlnb.models.checkpoint import WITH_FAULTS, check_whole
from xlnb.models.hub import explain
from xlnb.models.places import base_path, hub_place
from xlnb.presets import Models

# Languages as NLLB names them (FLORES-200); the first three letters are ISO 639-3.
FLORES = {
    "ar": "arb_Arab", "bg": "bul_Cyrl", "bn": "ben_Beng", "ca": "cat_Latn", "cs": "ces_Latn",
    "da": "dan_Latn", "de": "deu_Latn", "el": "ell_Grek", "en": "eng_Latn", "es": "spa_Latn",
    "et": "est_Latn", "eu": "eus_Latn", "fa": "pes_Arab", "fi": "fin_Latn", "fr": "fra_Latn",
    "ha": "hau_Latn", "he": "heb_Hebr", "hi": "hin_Deva", "hu": "hun_Latn", "id": "ind_Latn",
    "it": "ita_Latn", "ja": "jpn_Jpan", "ko": "kor_Hang", "ms": "zsm_Latn", "nl": "nld_Latn",
    "no": "nob_Latn", "pl": "pol_Latn", "pt": "por_Latn", "ro": "ron_Latn", "ru": "rus_Cyrl",
    "sv": "swe_Latn", "sw": "swh_Latn", "ta": "tam_Taml", "te": "tel_Telu", "th": "tha_Thai",
    "tr": "tur_Latn", "uk": "ukr_Cyrl", "ur": "urd_Arab", "vi": "vie_Latn", "yo": "yor_Latn",
    "zh": "zho_Hans", "zu": "zul_Latn",
}  # fmt: skip
# What some tokenizers still call a language.
EARLIER = {"he": "iw"}
# Tokens of a sentence, source and translation each, where the tokenizer names no fewer.
LONGEST = 512


@dataclass(frozen=True)
class Direction:
    """How a model is told from which language into which."""

    # token ids before the sentence's
    before: list[int]
    # the translation's first token; None: the model's own affair
    first: int | None


class Seq2Seq:
    """An encoder–decoder model of a folder or the Hub, unquantised, safetensors only.

    `models`: of which dtype and device it is to be. Raises InputError where it cannot be loaded.
    """

    def __init__(self, name: str, models: Models):
        self.name = name
        path, revision = hub_place(base_path(name))
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(
                path, **revision, trust_remote_code=False
            )
            found: Any = AutoModelForSeq2SeqLM.from_pretrained(
                path,
                **revision,
                dtype=compute_dtype(models),
                use_safetensors=True,
                trust_remote_code=False,
                **WITH_FAULTS,
            )
        # ImportError: of sentencepiece, which some tokenizers need
        except (OSError, ValueError, KeyError, ImportError) as error:
            raise InputError(
                f"seq2seq:{name}: could not be loaded ({explain(error, path)})"
            ) from None
        self.model, loading = found
        check_whole(f"seq2seq:{name}", loading)
        self.model.requires_grad_(False).eval().to(device_of(models))

    def translate(
        self, texts: Sequence[str], source: str, target: str, *, max_new_tokens: int, tokens: int
    ) -> list[Response]:
        """Each text put from one language into another, as the model's own generation config has it
        but without sampling; white space and line breaks stay.

        A text of which a sentence is longer than the model reads, or is cut at `max_new_tokens`,
        ended by "length". `tokens`: side by side, padding included. Raises InputError for a
        language that the model does not know.
        """
        way = self.direction(source, target)
        longest = min(LONGEST, self.tokenizer.model_max_length)
        cut = [pieces(text, source) for text in texts]
        bare = sorted({piece.strip() for some in cut for piece in some} - {""}, key=len)
        encoded = {sentence: self._encoded(sentence, way) for sentence in bare}
        # What is too long stays without a translation.
        said: dict[str, tuple[str, bool]] = dict.fromkeys(bare, ("", False))
        todo = [sentence for sentence in bare if len(encoded[sentence]) <= longest]
        most = min(max_new_tokens, longest)
        beams = self.model.generation_config.num_beams or 1
        while todo:
            at_once = max(1, tokens // (beams * (len(encoded[todo[-1]]) + most)))
            some, todo = todo[-at_once:], todo[:-at_once]
            found = self._generate([encoded[sentence] for sentence in some], way, most)
            said.update(zip(some, found, strict=True))
        return [_joined(some, said, target) for some in cut]

    def _encoded(self, sentence: str, way: Direction) -> list[int]:
        ids = self.tokenizer.encode(sentence, add_special_tokens=False, verbose=False)
        return [*way.before, *ids, self.tokenizer.eos_token_id]

    def _generate(
        self, rows: Sequence[list[int]], way: Direction, most: int
    ) -> list[tuple[str, bool]]:
        """Translations, and whether they came to an end."""
        width = max(map(len, rows))
        pad = self.tokenizer.pad_token_id
        padded = [[*row, *[pad] * (width - len(row))] for row in rows]
        ids = torch.tensor(padded, device=self.model.device)
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
        first = {} if way.first is None else {"forced_bos_token_id": way.first}
        with torch.inference_mode():
            output = self.model.generate(
                input_ids=ids,
                attention_mask=mask.to(ids.device),
                do_sample=False,
                max_new_tokens=most,
                **first,
            )
        # the first is the decoder's start, which may be the end of a text as well
        texts = self.tokenizer.batch_decode(output[:, 1:], skip_special_tokens=True)
        ended = (output[:, 1:] == self.tokenizer.eos_token_id).any(1).tolist()
        return [(text.strip(), end) for text, end in zip(texts, ended, strict=True)]

    def direction(self, source: str, target: str) -> Direction:
        """By what the tokenizer holds. Raises InputError for a language that it does not know."""
        vocabulary = self.tokenizer.get_vocab()
        # M2M100 and NLLB: a language's token before each side
        for named in ("__{}__".format, FLORES.__getitem__):
            if named(target) in vocabulary and named(source) in vocabulary:
                return Direction([vocabulary[named(source)]], vocabulary[named(target)])
        # MADLAD and Marian: the target's before the sentence
        code = FLORES[target][:3]
        for token in (f"<2{target}>", f"<2{EARLIER.get(target)}>", f">>{code}<<"):
            if token in vocabulary:
                return Direction([vocabulary[token]], None)
        if self._is_of(source, target):
            return Direction([], None)
        return Direction(self._instruction(source, target), None)

    def _is_of(self, source: str, target: str) -> bool:
        """Whether the tokenizer says that it is of this pair, as Marian's does."""
        sides = []
        for side, lang in (("source_lang", source), ("target_lang", target)):
            sides.append(getattr(self.tokenizer, side, None) in (lang, FLORES[lang][:3]))
        return all(sides)

    def _instruction(self, source: str, target: str) -> list[int]:
        """T5's: the config holds what to write before a sentence."""
        tasks: dict[str, Any] = getattr(self.model.config, "task_specific_params", None) or {}
        prefix = tasks.get(f"translation_{source}_to_{target}", {}).get("prefix")
        if prefix is None:
            raise InputError(
                f"seq2seq:{self.name}: its tokenizer does not translate {language_name(source)} "
                f"({source}) into {language_name(target)} ({target}); name a model that does (in a "
                "name {source} and {target} stand for the codes)"
            )
        ids: list[int] = self.tokenizer.encode(prefix, add_special_tokens=False)
        return ids


def _joined(cut: Sequence[str], said: dict[str, tuple[str, bool]], target: str) -> Response:
    """A text's translation, of its pieces'."""
    text = ""
    whole = True
    for piece in cut:
        bare = piece.strip()
        before, _, after = piece.partition(bare) if bare else (piece, "", "")
        translation, ended = said.get(bare, ("", True))
        whole = whole and ended
        if bare and target in UNSPACED:
            before = before.strip(" ")
        elif bare and text and not (before or text[-1].isspace()):
            before = " "
        text += before + translation + after
    return Response(text.strip(), [], "stop" if whole else "length")


def pair_name(name: str, source: str, target: str) -> str:
    """A checkpoint of one pair, as of opus-mt-{source}-{target}."""
    return name.replace("{source}", source).replace("{target}", target)
