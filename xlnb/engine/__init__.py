"""What stands between the method and TRL's trainer: rows of token ids, and what is overridden."""
