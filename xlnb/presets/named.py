"""The kit's own presets: the lab's, and real models'."""

from dataclasses import replace

from xlnb.presets.pages import (
    Comparer,
    Evaluation,
    Lab,
    Models,
    Preferences,
    Preset,
    Prompts,
    Sampling,
    Scoring,
    Training,
)

# The lab: everything on two CPU cores in minutes.
LAB = Preset(
    name="lab",
    prompts=Prompts(parts=2),
    sampling=Sampling(max_new_tokens=64, batch_tokens=32768),
    # Short rows of unlike lengths: small batches pad less.
    scoring=Scoring(
        scorers="cross_lingual,multilingual,likelihood,likelihood_sum,policy_likelihood,"
        "brevity,random",
        batch_tokens=4096,
    ),
    # With 2e-4 it has learnt nothing after 50 updates of seed 7, with this it has.
    comparer=Comparer(lr=1e-3),
    # Learning rates, steps and NLL weights were chosen by two iterations of seed 7, on the
    # `reward` questions.
    english=Training(steps=80, lr=2e-4, nll=0.2, max_tokens=512),
    training=Training(steps=100, lr=1e-4, max_tokens=512),
    evaluation=Evaluation(temperature=0.9, top_p=1.0, max_new_tokens=64),
)

# The same path in a minute or two, for tests and first looks: too small to show the method's
# effect.
LAB_QUICK = replace(
    LAB,
    name="lab-quick",
    prompts=Prompts(langs="en,es,ru", parts=2),
    lab=Lab(english=16, train=24, reward=8, eval=12),
    sampling=replace(LAB.sampling, n=4),
    comparer=replace(LAB.comparer, steps=6, batch=8, micro_batch=8, save_steps=2),
    english=replace(LAB.english, steps=6, batch=8, micro_batch=8, save_steps=2),
    training=replace(LAB.training, steps=6, batch=8, micro_batch=8, save_steps=2),
    evaluation=replace(LAB.evaluation, resamples=200),
)

# Real models: the release's numbers where it has them. Prompts are yours (`prompts.path`), as is
# the judge. The release trains all weights with lr 1e-7; LoRA needs more. 470 updates see 3,000
# prompts in each of five languages once.
REAL_TRAINING = Training(
    steps=470,
    micro_batch=1,
    lr=5e-6,
    # 8B in NF4 on a card of 24 GB; longer pairs are dropped and counted.
    max_tokens=2048,
    save_steps=47,
    gradient_checkpointing=True,
    eval_fraction=0.02,
)
QWEN_7B = Preset(
    name="qwen2.5-7b",
    # There is no public π_I and π^0 of one family: π^0 is trained from English preferences.
    models=Models(base="Qwen/Qwen2.5-7B-Instruct"),
    prompts=Prompts(limit=3000),
    preferences=Preferences(path="hub:HuggingFaceH4/ultrafeedback_binarized:train_prefs"),
    lab=Lab(english=0, train=0, reward=0, eval=0),
    sampling=Sampling(batch_tokens=32768),
    scoring=Scoring(scorers="cross_lingual"),
    # The 61,000 pairs of UltraFeedback once.
    english=replace(REAL_TRAINING, steps=1900, save_steps=190),
    training=REAL_TRAINING,
)
QWEN_SMALL = replace(
    QWEN_7B,
    name="qwen2.5-0.5b",
    models=Models(base="Qwen/Qwen2.5-0.5B-Instruct"),
    english=replace(QWEN_7B.english, max_tokens=4096),
    training=replace(QWEN_7B.training, max_tokens=4096),
)
# The paper's pair. Its second start, from KTO: -p models.dpo=princeton-nlp/Llama-3-Base-8B-SFT-KTO
LLAMA_8B = replace(
    QWEN_7B,
    name="llama3-8b",
    models=Models(
        base="princeton-nlp/Llama-3-Base-8B-SFT", dpo="princeton-nlp/Llama-3-Base-8B-SFT-DPO"
    ),
    preferences=Preferences(),
)

# Small models: 300 prompts in each of five languages, once an iteration; responses of at most 512
# tokens. None was run. By `python -m xlnb plan --gpu rtx4090`, whose speeds are assumed, two
# iterations take 1.1 hours (qwen2-0.5b), 2.3 (eurollm-1.7b), 4.2 (smollm3-3b), 0.8 (gemma3-270m);
# by vLLM a fifth to two fifths of that.
SMALL_TRAINING = replace(REAL_TRAINING, steps=47, save_steps=10, lr=2e-5)
# The start with a public pair: π^0 is trl-lib's DPO of π_I.
QWEN2 = replace(
    QWEN_7B,
    name="qwen2-0.5b",
    models=Models(base="Qwen/Qwen2-0.5B-Instruct", dpo="trl-lib/Qwen2-0.5B-DPO"),
    prompts=Prompts(limit=300),
    preferences=Preferences(),
    sampling=Sampling(max_new_tokens=512, batch_tokens=65536),
    training=SMALL_TRAINING,
    evaluation=Evaluation(max_new_tokens=512),
)
# 35 languages, fine-tuned on instructions only: π^0 is trained here, on 9,600 pairs.
EUROLLM = replace(
    QWEN2,
    name="eurollm-1.7b",
    models=Models(base="utter-project/EuroLLM-1.7B-Instruct"),
    preferences=replace(QWEN_7B.preferences, limit=9600),
    english=replace(SMALL_TRAINING, steps=300, save_steps=30),
)
# The finished model, which is aligned already and would think aloud.
# Its SFT checkpoint is a revision: -p models.base=HuggingFaceTB/SmolLM3-3B-checkpoints@it-SFT
SMOLLM3 = replace(
    EUROLLM,
    name="smollm3-3b",
    models=Models(base="HuggingFaceTB/SmolLM3-3B", chat_template_kwargs="enable_thinking=false"),
)
# The smallest with 140 languages in pretraining; its terms have to be accepted on the Hub.
GEMMA3 = replace(EUROLLM, name="gemma3-270m", models=Models(base="google/gemma-3-270m-it"))

REAL = (QWEN_SMALL, QWEN_7B, LLAMA_8B, QWEN2, EUROLLM, SMOLLM3, GEMMA3)
PRESETS = {preset.name: preset for preset in (LAB, LAB_QUICK, *REAL)}
