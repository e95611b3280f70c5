"""The pages of a preset that say how adapters are trained."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from xlnb.presets.values import (
    STRICT,
    Above0,
    Amount,
    AtLeast0,
    AtLeast1,
    Doubt,
    Layers,
    Share,
    option,
)


def _dealt(page: Any) -> Any:
    """The page, if its updates can be cut into forward passes."""
    if page.batch % page.micro_batch:
        raise ValueError(f"batch {page.batch} must be a multiple of micro_batch {page.micro_batch}")
    return page


@dataclass(frozen=True, config=STRICT)
class SFT:
    """From a base that only goes on with texts to π_I: supervised fine-tuning, by QLoRA, whose
    result is merged into a checkpoint of the run's own."""

    # demonstrations, in any languages: a file or hub:ORG/NAME:SPLIT; empty: `models.base` is π_I
    path: str = option("")
    # at most so many of them; 0: all
    limit: AtLeast0 = option(0)
    # updates
    steps: AtLeast1 = option(200)
    # demonstrations an update
    batch: AtLeast1 = option(16)
    # demonstrations a forward pass
    micro_batch: AtLeast1 = option(16)
    # decays linearly to 0
    lr: Above0 = option(2e-4)
    # rank of the adapter's matrices
    lora_r: AtLeast1 = option(16)
    # the adapter's product is scaled by lora_alpha / lora_r
    lora_alpha: AtLeast1 = option(32)
    # demonstrations with a longer prompt + response are dropped and counted
    max_tokens: AtLeast1 = option(2048)
    # a killed run repeats at most this many
    save_steps: AtLeast1 = option(50)
    # computes activations a second time in place of keeping them: less memory, more time
    gradient_checkpointing: bool = option(False)

    @model_validator(mode="after")
    def _together(self) -> Self:
        return _dealt(self)


@dataclass(frozen=True, config=STRICT)
class Comparer:
    """Of score `comparer`, a generative reward model (GRAM): π_I with an adapter of its own, which
    is trained to say which of two responses is better."""

    # updates on two unlabelled responses a prompt, of the first iteration and in all its languages,
    # before those on English pairs; 0: none
    unlabelled_steps: AtLeast0 = option(0)
    # updates on English pairs, each in both orders
    steps: AtLeast1 = option(300)
    # comparisons an update
    batch: AtLeast1 = option(32)
    # comparisons a forward pass
    micro_batch: AtLeast1 = option(32)
    # decays linearly to 0, in either part
    lr: Above0 = option(2e-4)
    # s: the share of pairs that are thought to be the wrong way round (GRAM's ε is 2s, .1)
    label_smoothing: Doubt = option(0.05)
    # rank of the adapter's matrices
    lora_r: AtLeast1 = option(16)
    # the adapter's product is scaled by lora_alpha / lora_r
    lora_alpha: AtLeast1 = option(32)
    # longer comparisons are not trained on, and counted
    max_tokens: AtLeast1 = option(4096)
    # a killed run repeats at most this many
    save_steps: AtLeast1 = option(50)
    # computes activations a second time in place of keeping them: less memory, more time
    gradient_checkpointing: bool = option(False)
    # so many others of its prompt are compared with each response, half of them before it and half
    # behind it in a ring; 0: all
    opponents: AtLeast0 = option(0)

    @model_validator(mode="after")
    def _together(self) -> Self:
        if self.opponents % 2:
            raise ValueError(
                f"opponents={self.opponents}: expected an even number, half of them before a "
                "response and half behind it"
            )
        return _dealt(self)


@dataclass(frozen=True, config=STRICT)
class Training:
    """Training of an adapter on pairs."""

    # updates
    steps: AtLeast1 = 120
    # pairs an update
    batch: AtLeast1 = 32
    # pairs a forward pass
    micro_batch: AtLeast1 = 32
    # decays linearly to 0
    lr: Above0 = 5e-5
    # of DPO
    beta: Above0 = 0.1
    # c: weight of the NLL of the chosen response, per token (the release's)
    nll: Amount = 1.0
    # in the loss of pairs, not in the NLL, token t counts γ^(t−1) (D²PO): less than 1 draws
    # attention to how responses begin
    gamma: Share = option(1.0)
    # s: the share of pairs that are thought to be the wrong way round (cDPO, GRAM with ε = 2s)
    label_smoothing: Doubt = option(0.0)
    # whose log-probabilities the loss of pairs moves; rejected alone wants nll=0
    sides: Literal["both", "chosen", "rejected"] = option("both")
    # rank of the adapter's matrices
    lora_r: AtLeast1 = 16
    # the adapter's product is scaled by lora_alpha / lora_r
    lora_alpha: AtLeast1 = 32
    # pairs with a longer prompt + response are dropped and counted
    max_tokens: AtLeast1 = 4096
    # a killed run repeats at most this many
    save_steps: AtLeast1 = 20
    # computes activations a second time in place of keeping them: less memory, more time
    gradient_checkpointing: bool = False
    # a name of `xlnb.losses.LOSSES`: dpo; or kto, on the same pairs, whose start is π^0 of the
    # paper's second experiment
    loss: str = "dpo"
    # auto: paged_adamw_8bit on a GPU, adamw on a CPU
    optimizer: Literal["auto", "adamw", "paged_adamw_8bit"] = "auto"
    # "0-3" or "0+2+5": the layers whose part of the adapter is trained (SLAM)
    layers: Layers = option("all")
    # of these layers all that the adapter changes, or the feed-forward networks alone
    modules: Literal["all", "mlp"] = option("all")
    # of prompts held out; the checkpoint with the least loss on them is kept, else the last
    eval_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.0
    # where the log goes besides training.json
    report_to: Literal["none", "tensorboard", "wandb"] = "none"

    @model_validator(mode="after")
    def _together(self) -> Self:
        if self.sides == "rejected" and self.nll:
            raise ValueError(
                f"sides=rejected trains on no chosen response, of which nll={self.nll:g} does; set "
                "nll to 0"
            )
        return _dealt(self)
