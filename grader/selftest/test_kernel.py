"""What the kernel says of a program's threads, while they come and go."""

from __future__ import annotations

import subprocess
from pathlib import Path

from grader.harness import kernel

# A thread starts the next one and ends; three others stay. So there are five at least, with the first.
CHAIN = r"""
#include <pthread.h>
#include <unistd.h>

static void *stay(void *unused)
{
    pause();
    return unused;
}

static void *start_next(void *unused)
{
    pthread_t next;

    if (pthread_create(&next, NULL, start_next, NULL) == 0)
        pthread_detach(next);
    return unused;
}

int main(void)
{
    pthread_t thread;

    for (int i = 0; i < 3; i++)
        pthread_create(&thread, NULL, stay, NULL);
    start_next(NULL);
    write(1, "x", 1);
    pause();
    return 0;
}
"""
LOOKS = 40_000  # about one listing in 6,000 ends where a thread has ended


def test_no_thread_is_missed_while_others_end(tmp_path: Path) -> None:
    (tmp_path / "chain.c").write_text(CHAIN)
    subprocess.run(["gcc", "-pthread", "-o", tmp_path / "chain", tmp_path / "chain.c"], check=True)
    with subprocess.Popen([tmp_path / "chain"], stdout=subprocess.PIPE) as chain:
        try:
            assert chain.stdout and chain.stdout.read(1) == b"x"
            assert min(kernel.threads(chain.pid) for _ in range(LOOKS)) >= 5
            assert min(len(kernel._tasks(chain.pid)) for _ in range(LOOKS)) >= 5
        finally:
            chain.kill()
    assert kernel.threads(chain.pid) == 0
