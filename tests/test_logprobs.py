"""Log-probabilities against numbers worked out by hand, and against one plain forward pass an example."""

import math
from types import SimpleNamespace

import pytest
import torch
from families import FAMILIES, TEXTS, fp32
from hypothesis import given, settings
from hypothesis import strategies as st

from xlnb.errors import InputError
from xlnb.lab.documents import documents
from xlnb.logprobs import batches, collate, response_logprobs, sequence_logprobs
from xlnb.models import load_base, load_tokenizer, new_adapter, prompt_ids, response_ids
from xlnb.presets import Models, Training
from xlnb.rewards import implicit_reward, score_responses

TOLERANCE = 1e-4  # nats a token, in fp32


class Bigram(torch.nn.Module):
    """P(next | current) by a table over three tokens; it gives logits, so shifted by a constant a row."""

    TABLE = ((1 / 2, 1 / 4, 1 / 4), (1 / 8, 1 / 8, 3 / 4), (1 / 10, 3 / 10, 6 / 10))

    def __init__(self):
        super().__init__()
        self.logits = torch.nn.Parameter(torch.tensor(self.TABLE).log() + torch.tensor([[5.0], [-3.0], [0.5]]))

    def forward(self, input_ids, attention_mask, position_ids, use_cache, logits_to_keep):
        assert input_ids.shape == attention_mask.shape == position_ids.shape
        return SimpleNamespace(logits=self.logits[input_ids][:, -logits_to_keep:])


# (prompt, response, P of each response token given the one before)
WORKED = [
    ([0, 1], [2, 1, 0], [3 / 4, 3 / 10, 1 / 8]),
    ([2], [0], [1 / 10]),
    ([1, 1, 0], [1, 2], [1 / 4, 3 / 4]),
    ([0], [0, 0, 0, 2], [1 / 2, 1 / 2, 1 / 2, 1 / 4]),
]


def fields(rows):
    return [list(column) for column in zip(*rows, strict=True)]


@pytest.mark.parametrize("batch_tokens", [1, 12, 1000])
def test_worked_by_hand(batch_tokens):
    prompts, responses, expected = fields(WORKED)
    logprobs = sequence_logprobs(Bigram(), prompts, responses, batch_tokens=batch_tokens)
    for values, probabilities in zip(logprobs, expected, strict=True):
        assert values.dtype == torch.float32
        assert values.tolist() == pytest.approx([math.log(p) for p in probabilities], abs=1e-6)


def test_the_layout_is_the_one_drawn_in_the_module():
    batch = collate([[1, 2, 3], [1, 2, 3, 4, 5]], [[6, 7, 9], [8, 9]])
    assert batch["input_ids"].tolist() == [[0, 0, 1, 2, 3, 6, 7, 9], [1, 2, 3, 4, 5, 8, 9, 0]]
    assert batch["attention_mask"].tolist() == [[0, 0, 1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1, 1, 0]]
    assert batch["position_ids"].tolist() == [[0, 0, 0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 5, 6, 6]]
    assert batch["response_mask"].tolist() == [[1, 1, 1], [1, 1, 0]]


def test_padding_scores_0_and_logits_are_asked_for_the_response_alone():
    prompts, responses, _ = fields(WORKED)
    model, kept = Bigram(), []
    model.register_forward_pre_hook(lambda *call: kept.append(call[2]["logits_to_keep"]), with_kwargs=True)
    batch = collate(prompts, responses)
    values = response_logprobs(model, batch)
    assert kept == [5]  # the longest response, and the column before it
    assert values.shape == (4, 4)
    assert not values[batch["response_mask"] == 0].any()
    assert (values[batch["response_mask"] == 1] < 0).all()


def test_an_empty_prompt_or_response_is_refused():
    with pytest.raises(InputError, match="row 1"):
        sequence_logprobs(Bigram(), [[0], [1]], [[2], []])
    with pytest.raises(InputError, match="row 0"):
        sequence_logprobs(Bigram(), [[], [1]], [[2], [1]])


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_log_probability_that_is_not_finite_is_refused(value):
    model = Bigram()
    model.logits.data[1, 2] = value
    sequence_logprobs(model, [[0]], [[0]])
    with pytest.raises(InputError, match=r"row 1.*not finite"):
        sequence_logprobs(model, [[0], [0, 1]], [[0], [2]])


LENGTHS = st.lists(st.tuples(st.integers(1, 60), st.integers(1, 60)), max_size=40)


@given(lengths=LENGTHS, budget=st.integers(1, 600))
def test_batches_cover_every_row_once_within_the_budget(lengths, budget):
    prompt_lengths, response_lengths = [p for p, _ in lengths], [r for _, r in lengths]
    made = list(batches(prompt_lengths, response_lengths, budget))
    assert sorted(row for batch in made for row in batch) == list(range(len(lengths)))
    for batch in made:
        width = max(prompt_lengths[i] for i in batch) + max(response_lengths[i] for i in batch)
        assert len(batch) == 1 or width * len(batch) <= budget


def test_batches_are_filled():
    assert [len(batch) for batch in batches([10] * 10, [10] * 10, 80)] == [4, 4, 2]


# The families.


@pytest.fixture(scope="module", params=FAMILIES)
def family(request):
    """(model, prompts, responses, reference) with responses of many lengths, one of them cut and one a single token."""
    models = fp32(request.param)
    model, tokenizer = load_base(models), load_tokenizer(models)
    prompts = [prompt_ids(tokenizer, text) for text in TEXTS]
    responses = [response_ids(tokenizer, "", text[: 7 * i]) for i, text in enumerate(TEXTS)]
    responses[3] = responses[3][:-1]
    assert len(responses[0]) in (1, 2)
    return model, prompts, responses, [reference(model, *row) for row in zip(prompts, responses, strict=True)]


def reference(model, prompt, response):
    """One row alone: no padding, log-softmax over every position, a loop over tokens."""
    with torch.inference_mode():
        logits = model(torch.tensor([[*prompt, *response]], device=model.device)).logits[0]
    logprobs = torch.log_softmax(logits.float(), dim=-1)
    return torch.tensor([logprobs[len(prompt) - 1 + t, token].item() for t, token in enumerate(response)])


def assert_close(actual, expected):
    for values, others in zip(actual, expected, strict=True):
        torch.testing.assert_close(values, others, atol=TOLERANCE, rtol=0)


def test_every_family_agrees_with_one_forward_pass_an_example(family):
    model, prompts, responses, expected = family
    assert_close(sequence_logprobs(model, prompts, responses), expected)


def test_neither_order_nor_batch_size_nor_neighbours_matter(family):
    model, prompts, responses, expected = family
    for budget in (1, 150, 400):
        assert_close(sequence_logprobs(model, prompts, responses, batch_tokens=budget), expected)
    assert_close(sequence_logprobs(model, prompts[::-1], responses[::-1]), expected[::-1])
    for neighbour in range(1, len(prompts)):  # of the first row
        rows = [0, neighbour]
        both = sequence_logprobs(model, [prompts[i] for i in rows], [responses[i] for i in rows])
        assert_close(both, [expected[i] for i in rows])


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_on_one_side_gives_the_same(family, side):
    model, prompts, responses, _ = family
    width = max(len(p) + len(r) for p, r in zip(prompts, responses, strict=True))
    pads = [width - len(p) - len(r) for p, r in zip(prompts, responses, strict=True)]
    before = [pad if side == "left" else 0 for pad in pads]
    ids, mask = torch.zeros(len(pads), width, dtype=torch.long), torch.zeros(len(pads), width, dtype=torch.long)
    for i, (prompt, response) in enumerate(zip(prompts, responses, strict=True)):
        ids[i, before[i] : before[i] + len(prompt + response)] = torch.tensor(prompt + response)
        mask[i, before[i] : before[i] + len(prompt + response)] = 1
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    with torch.inference_mode():
        inputs = {"input_ids": ids, "attention_mask": mask, "position_ids": positions}
        logits = model(**{name: tensor.to(model.device) for name, tensor in inputs.items()}).logits
    logprobs = logits.float().log_softmax(-1).cpu()
    expected = []
    for i, response in enumerate(responses):
        first = before[i] + len(prompts[i])
        expected.append(torch.stack([logprobs[i, first + t - 1, token] for t, token in enumerate(response)]))
    assert_close(sequence_logprobs(model, prompts, responses), expected)


def test_random_lengths(family):
    model, *_ = family

    @settings(max_examples=8, deadline=None)
    @given(
        lengths=st.lists(st.tuples(st.integers(1, 24), st.integers(1, 24)), min_size=1, max_size=5),
        budget=st.integers(1, 300),
        seed=st.integers(0, 2**16),
    )
    def check(lengths, budget, seed):
        generator = torch.Generator().manual_seed(seed)
        draw = [[torch.randint(608, (n,), generator=generator).tolist() for n in pair] for pair in lengths]
        prompts, responses = fields(draw)
        expected = [reference(model, *row) for row in draw]
        assert_close(sequence_logprobs(model, prompts, responses, batch_tokens=budget), expected)

    check()


def test_response_logprobs_is_differentiable_and_the_same(family):
    model, prompts, responses, expected = family
    weight = model.get_input_embeddings().weight
    weight.requires_grad_()
    batch = {name: tensor.to(model.device) for name, tensor in collate(prompts, responses).items()}
    values = response_logprobs(model, batch)
    (gradient,) = torch.autograd.grad(values.sum(), weight)
    weight.requires_grad_(False)
    assert torch.isfinite(gradient).all()
    assert gradient.any()
    rows = [row[: len(response)].cpu() for row, response in zip(values.detach(), responses, strict=True)]
    assert_close(rows, expected)


def test_a_model_has_reward_0_against_itself(family):
    model, prompts, responses, _ = family
    policy, ref = score_responses(model, "sft", "sft", prompts, responses, batch_tokens=300)
    assert all(torch.equal(a, b) for a, b in zip(policy, ref, strict=True))


def test_repeated_responses_are_scored_as_the_others_are(family):
    model, prompts, responses, expected = family
    doubled = score_responses(model, "sft", "sft", prompts * 2, responses * 2, batch_tokens=300)
    assert_close(doubled[0], expected * 2)
    assert score_responses(model, "sft", "sft", [], [], batch_tokens=300) == ([], [])


def test_a_fresh_adapter_has_reward_0():
    models = fp32("llama3")
    model = new_adapter(load_base(models), models.base, Training(lora_r=4, lora_alpha=8)).eval()
    tokenizer = load_tokenizer(models)
    prompts = [prompt_ids(tokenizer, text) for text in TEXTS]
    responses = [response_ids(tokenizer, "", text) for text in TEXTS]

    def rewards():
        sides = score_responses(model, "default", "sft", prompts, responses, batch_tokens=300)
        return implicit_reward(*([values.sum().item() for values in side] for side in sides), beta=0.1)

    assert rewards() == [0.0] * len(TEXTS)
    next(p for name, p in model.named_parameters() if "lora_B" in name).data.fill_(0.1)
    assert all(rewards())


def test_nan_weights_are_refused():
    model = load_base(fp32("llama3"))
    next(model.parameters()).data.fill_(math.nan)
    with pytest.raises(InputError, match="not finite"):
        sequence_logprobs(model, [[5, 6]], [[7]])


# The lab's own base, in the types it may run in.


@pytest.fixture(scope="module")
def lab():
    """Lab conversations' first turns as rows, and the fp32 log-probabilities of all response tokens in one tensor."""
    models = Models(four_bit=False, dtype="float32")
    tokenizer = load_tokenizer(models)
    turns = [(messages[0]["content"], messages[1]["content"]) for messages in documents(48, seed=1)]
    prompts = [prompt_ids(tokenizer, question) for question, _ in turns]
    responses = [response_ids(tokenizer, question, answer) for question, answer in turns]
    return prompts, responses, torch.cat(sequence_logprobs(load_base(models), prompts, responses))


def test_nf4_keeps_the_lab_model(lab):
    prompts, responses, expected = lab
    actual = torch.cat(sequence_logprobs(load_base(Models(dtype="float32")), prompts, responses))
    correlation = torch.corrcoef(torch.stack([actual, expected]))[0, 1].item()
    print(f"NF4: correlation {correlation:.4f}, mean deviation {(actual - expected).abs().mean():.4f} nats a token")
    assert correlation > 0.95


def test_bf16_deviates_little_and_is_summed_in_fp32(lab):
    prompts, responses, expected = lab
    values = sequence_logprobs(load_base(Models(four_bit=False, dtype="bfloat16")), prompts, responses)
    assert {row.dtype for row in values} == {torch.float32}
    deviation = (torch.cat(values) - expected).abs()
    print(f"bf16: mean deviation {deviation.mean():.4f}, largest {deviation.max():.4f} nats a token")
    assert deviation.mean() < 0.05
