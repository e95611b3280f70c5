"""A base and its adapters: loading, chat template, answer head, batches, sharding, vLLM, Hub."""
