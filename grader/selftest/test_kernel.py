"""What the kernel says of a program's threads, while they come and go."""

from __future__ import annotations

import subprocess
from pathlib import Path

from grader.harness import kernel

# A thread starts the next one and ends; four, with the first, say their id and stay. So there are five at least.
CHAIN = r"""
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

static void say_id_and_wait(void)
{
    dprintf(1, "%d\n", gettid());
    pause();
}

static void *stay(void *unused)
{
    say_id_and_wait();
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
    say_id_and_wait();
    return 0;
}
"""
LOOKS = 40_000  # about one listing in 1,000 ends where a thread has ended


def test_no_thread_is_missed_while_others_end(tmp_path: Path) -> None:
    (tmp_path / "chain.c").write_text(CHAIN)
    subprocess.run(["gcc", "-pthread", "-o", tmp_path / "chain", tmp_path / "chain.c"], check=True)
    with subprocess.Popen([tmp_path / "chain"], stdout=subprocess.PIPE) as chain:
        try:
            assert chain.stdout
            staying = {chain.stdout.readline().decode().strip() for _ in range(4)}
            assert min(kernel.threads(chain.pid) for _ in range(LOOKS)) >= 5
            looks = [kernel._tasks(chain.pid) for _ in range(LOOKS)]
            assert [tasks for tasks in looks if not staying < tasks] == []
        finally:
            chain.kill()
    assert kernel.threads(chain.pid) == 0
