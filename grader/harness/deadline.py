"""How long a check waits."""

DEADLINE = 4.0  # seconds for an answer, before the machine's and the tool's factors
LONGEST_TURN = 0.04  # seconds that one turn of a waiting loop may count
