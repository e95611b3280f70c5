"""Pairwise judges behind one protocol: two responses in, a preference from 1 to 2 out. A judge a
file; `registry.JUDGES` is their list."""
