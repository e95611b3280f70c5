"""Two prompts whose length control can be followed by hand."""

# Prompt 1 chooses 10 characters, 4 from α = 1/6 and 1 from α = 4/3; it rejects 1, and 10 from
# α = 5/9.
# Prompt 2 chooses 6, and 2 from α = 1/2, and rejects the other. Length gaps:
#   α from      0    1/6   1/2   5/9   4/3
#   prompt 1    9     3     3    -6    -9
#   prompt 2    4     4    -4    -4    -4
#   mean       6.5   3.5  -0.5   -5   -6.5
REWARDS = [[5.0, 4.0, 0.0], [2.0, 0.0]]
N_CHARS = [[10, 4, 1], [6, 2]]
