"""The lab: a multilingual world small enough to know the truth of (`data/lab`)."""
