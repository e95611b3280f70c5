"""The pages of a preset that say what a run learns from beside its prompts: English preferences,
the lab's questions, prompts put into other languages."""

from typing import Annotated, Self

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from xlnb.presets.values import STRICT, Amount, AtLeast0, AtLeast1, Translator, option


@dataclass(frozen=True, config=STRICT)
class Localise:
    """English training prompts put into other languages by a model, before anything else."""

    # "de,sw": the languages to make of the English prompts of prompts.path; empty: none
    langs: str = ""
    # the translator: endpoint:MODEL, local:FOLDER_OR_HUB_ID (a chat model) or
    # seq2seq:FOLDER_OR_HUB_ID (NLLB, MADLAD, M2M100, T5; Marian as opus-mt-{source}-{target});
    # empty: π_I
    by: Translator = ""
    # A draft, translated back, must share so much with the English prompt (chrF, 0 to 100).
    # Unrelated English prompts of like length in the release reach 21 in the median and 37 at the
    # 99th percentile.
    min_chrf: Annotated[float, Field(ge=0, le=100)] = 40.0
    # tries: after the first, only what fails its check is asked for again, told why, as drafts of
    # three kinds and one made of them (TACTIC)
    drafts: AtLeast1 = option(1)
    # calls of an endpoint at once
    workers: AtLeast1 = 8
    # of an endpoint, US dollars a million tokens, for the estimate; 0: not known
    price: Amount = 0.0

    @model_validator(mode="after")
    def _together(self) -> Self:
        if self.drafts > 1 and not self.langs:
            raise ValueError(
                "drafts: only prompts are asked for again, in the languages of localise.langs; "
                "R_t's translations have no check by chrF and are asked for once"
            )
        if self.drafts > 1 and self.by.startswith("seq2seq:"):
            raise ValueError(
                "drafts: an encoder–decoder model cannot be told why a translation failed and "
                "would say the same again; leave localise.drafts out"
            )
        return self


@dataclass(frozen=True, config=STRICT)
class Preferences:
    """The English pairs that π^0 is trained on."""

    # rows with prompt, chosen, rejected: a file or hub:ORG/NAME:SPLIT; empty: made of the lab's
    # samples
    path: str = ""
    # at most so many pairs; 0: all
    limit: AtLeast0 = 0
    # label noise: the share of the pairs made here whose chosen and rejected change places
    flipped: Annotated[float, Field(ge=0, le=1)] = option(0.0)
    # the share of the pairs, drawn anew for each, that every cross-lingual iteration trains on
    # beside its own
    replayed: Annotated[float, Field(ge=0, le=1)] = option(0.0)

    @model_validator(mode="after")
    def _together(self) -> Self:
        if self.path and self.flipped:
            raise ValueError("flipped is for pairs that are made here; leave path or flipped out")
        return self


@dataclass(frozen=True, config=STRICT)
class Lab:
    """What the oracle likes, and how many of the lab's questions a run uses, a language. The three
    splits share no fact; all 0: none, ever."""

    # a name of `xlnb.lab.tastes.TASTES`, or anti-NAME, its exact opposite
    taste: str = "polite"
    # for the translated reward, the share of sentences that the world's translator drops or
    # falsifies
    translation_noise: Annotated[float, Field(ge=0, le=1)] = 0.0
    # for the English preferences
    english: AtLeast0 = 426
    # for the cross-lingual iterations
    train: AtLeast0 = 220
    # held out, to compare rewards with the truth
    reward: AtLeast0 = 40
    # held out, for win rates
    eval: AtLeast0 = 200
