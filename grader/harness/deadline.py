"""How long a check waits."""

DEADLINE = 4.0  # seconds for an answer, before the machine's and the tool's factors
AT_WORK = 3  # so many times as long waits a check for a program that is at work when its time is over
LONGEST_TURN = 0.04  # seconds that one turn of a waiting loop may count
