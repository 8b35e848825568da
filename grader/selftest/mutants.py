"""Known mistakes as small patches on the solutions, and the check that names each.

A patch is a text that must occur exactly once in the file and what stands in its place. It fails
loudly when it no longer applies. The ids in brackets are those of the kit's catalogue of mistakes.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from grader.harness.build import KIT


@dataclass(frozen=True, slots=True)
class Mutant:
    """One mistake in one file of the solutions; `caught_by` must fail because of it."""

    id: str
    file: str
    old: str
    new: str
    caught_by: str
    also: tuple[tuple[str, str, str], ...] = ()  # further files, texts and replacements


def apply(mutant: Mutant, target: Path) -> Path:
    """Writes the solutions with the mistake to `target`. Raises ValueError if the patch does not apply."""
    shutil.copytree(KIT / "solutions", target, dirs_exist_ok=True)
    for file, old, new in ((mutant.file, mutant.old, mutant.new), *mutant.also):
        path = target / file
        text = path.read_text(encoding="utf-8")
        if text.count(old) != 1:
            raise ValueError(f"mutant {mutant.id}: its text occurs {text.count(old)} times in {file}")
        path.write_text(text.replace(old, new), encoding="utf-8")
    return target


_S1, _S2, _S3, _S4 = "stage1_echo", "stage2_framing", "stage3_threads", "stage4_relay"

MUTANTS = [
    # Stage 1
    Mutant("port_in_host_order [A01]", f"{_S1}/net.c", "htons((uint16_t)port)", "(uint16_t)port", "stage1.server.basic"),
    Mutant("goes_on_after_bind_failed [A05]", f"{_S1}/net.c",
           "if (bind(fd, (struct sockaddr *)&where, sizeof where) == -1)\n        return give_up(fd);",
           "bind(fd, (struct sockaddr *)&where, sizeof where);", "stage1.server.occupied_port"),
    Mutant("no_reuse_of_the_port [A07]", f"{_S1}/net.c", "int yes = 1;\n    if (setsockopt(fd, SOL_SOCKET",
           "int yes = 0;\n    if (setsockopt(fd, SOL_SOCKET", "stage1.server.restart"),
    Mutant("sends_the_whole_buffer [A14]", f"{_S1}/server.c", "send(fd, message, (size_t)len, MSG_NOSIGNAL)",
           "send(fd, message, sizeof message, MSG_NOSIGNAL)", "stage1.server.any_bytes"),
    Mutant("sends_the_final_nul [A16]", f"{_S1}/client.c", "strlen(message), MSG_NOSIGNAL", "strlen(message) + 1, MSG_NOSIGNAL",
           "stage1.client.message"),
    Mutant("message_taken_for_a_string [A21]", f"{_S1}/server.c", "fwrite(message, 1, len, stdout);",
           "(void)len; printf(\"%s\", message);", "stage1.server.long_then_short"),
    Mutant("message_is_the_format [A25]", f"{_S1}/server.c", "fwrite(message, 1, len, stdout);",
           "printf(\"%.*s\", (int)len, \"\"); printf(message);", "stage1.server.format"),
    Mutant("ends_after_the_first_client [A31]", f"{_S1}/server.c", "        close(fd);\n    }\n}",
           "        close(fd);\n        return -1;\n    }\n}", "stage1.server.second_client"),
    Mutant("never_closes_a_client [A31]", f"{_S1}/server.c", "        close(fd);\n    }\n}",
           "        shutdown(fd, SHUT_RDWR);\n    }\n}", "stage1.server.leaves_nothing"),
    Mutant("dies_of_sigpipe [C12]", f"{_S1}/net.c", "signal(SIGPIPE, SIG_IGN)", "signal(SIGCHLD, SIG_IGN)",
           "stage1.server.vanishing_clients", ((f"{_S1}/server.c", "(size_t)len, MSG_NOSIGNAL)", "(size_t)len, 0)"),)),
    # Stage 2
    Mutant("looks_only_in_the_newest_piece [B06]", f"{_S2}/framing.c", "    reader->start = 0;\n    reader->end = 0;\n    do",
           "    reader->matched = 0;\n    reader->start = 0;\n    reader->end = 0;\n    do", "stage2.server.cut_done"),
    Mutant("throws_away_what_follows [B09]", f"{_S2}/framing.c", "    reader->len -= DONE_LEN;\n    return 1;",
           "    reader->len -= DONE_LEN;\n    reader->start = reader->end;\n    return 1;", "stage2.server.two_in_one"),
    Mutant("broken_match_is_not_looked_at_again [B12]", f"{_S2}/framing.c", "reader->matched = byte == DONE[0];",
           "reader->matched = 0;", "stage2.server.near_misses"),
    Mutant("marker_stays_in_the_message [B15]", f"{_S2}/framing.c", "    reader->len -= DONE_LEN;\n", "    reader->len -= DONE_LEN - 1;\n",
           "stage2.server.basic"),
    Mutant("does_not_escape [contract]", f"{_S2}/framing.c", "    if (bytes[0] == '\\\\')\n        return 1;\n", "", "stage2.server.backslashes"),
    Mutant("end_of_stdin_sends_nothing [E16]", f"{_S2}/client.c", "    if (frame_write(reader->fd, \"QUIT\", 4) == -1)\n        return -1;\n",
           "", "stage2.client.end_of_input"),
    Mutant("half_close_is_an_end [B41]", f"{_S2}/framing.c", "    reader->len -= DONE_LEN;\n    return 1;",
           "    reader->len -= DONE_LEN;\n    char next;\n"
           "    return recv(reader->fd, &next, 1, MSG_PEEK | MSG_DONTWAIT) == 0 ? -1 : 1;", "stage2.server.half_close"),
    # Stage 3
    Mutant("joins_at_once [C05]", f"{_S3}/server.c", "        errno = error;\n        return -1;\n    }\n    return 0;\n}\n\n/* Fills",
           "        errno = error;\n        return -1;\n    }\n    pthread_join(thread, NULL);\n    return 0;\n}\n\n/* Fills", "stage3.server.silent_client",
           ((f"{_S3}/server.c", "PTHREAD_CREATE_DETACHED", "PTHREAD_CREATE_JOINABLE"),)),
    Mutant("never_frees_a_client [C04]", f"{_S3}/server.c", "    close(client->fd);\n    free(client);", "    close(client->fd);",
           "stage3.server.memory"),
    Mutant("never_closes_in_the_thread [D13]", f"{_S3}/server.c", "    close(client->fd);\n", "    shutdown(client->fd, 2);\n", "stage3.server.leaves_nothing"),
    Mutant("one_client_struct_for_all [C01]", f"{_S3}/server.c", "struct client *client = malloc(sizeof *client);",
           "static struct client shared;\n    struct client *client = &shared;", "stage3.server.hundred_clients"),
    Mutant("exit_in_a_thread [C10]", f"{_S3}/server.c", "    close(client->fd);\n    free(client);\n    return NULL;",
           "    exit(1);", "stage3.server.vanishing_clients"),
    # Stage 4
    Mutant("table_without_a_lock [D01]", f"{_S4}/names.c",
           "    pthread_mutex_lock(&names->lock);\n    int result = enter_locked(names, peer, name, len);\n    pthread_mutex_unlock(&names->lock);",
           "    int result = enter_locked(names, peer, name, len);", "stage4.server.races"),
    Mutant("compares_only_the_beginning [D25]", f"{_S4}/names.c", "(strlen(peer->name) != len || memcmp(peer->name, name, len) != 0)",
           "memcmp(peer->name, name, len) != 0", "stage4.server.whole_names",
           ((f"{_S4}/names.c", "hash % NAMES_BUCKETS", "hash % 1"),)),
    Mutant("duplicate_names [D30]", f"{_S4}/names.c", "    if (find_locked(names, name, len) != NULL) {\n        errno = EEXIST;\n        return -1;\n    }\n",
           "", "stage4.server.name_taken"),
    Mutant("name_stays_after_a_reset [D33]", f"{_S4}/server.c", "    struct peer *peer = session->peer;\n\n    names_remove(session->names, peer);\n",
           "    struct peer *peer = session->peer;\n\n", "stage4.server.name_free_after_leaving"),
    Mutant("spaces_are_skipped [D42]", f"{_S4}/server.c", "    size_t name_len = (size_t)(space - rest);\n",
           "    size_t name_len = (size_t)(space - rest);\n    while (space + 1 < rest + len && space[1] == ' ')\n        space++;\n    (void)name_len;\n", "stage4.server.text_unchanged"),
    Mutant("lock_while_sending [D08]", f"{_S4}/server.c", "            handle_command(session, reader->body, reader->len);\n",
           "        {\n            static pthread_mutex_t big = PTHREAD_MUTEX_INITIALIZER;\n            pthread_mutex_lock(&big);\n"
           "            handle_command(session, reader->body, reader->len);\n            batch_flush(session);\n"
           "            pthread_mutex_unlock(&big);\n        }\n", "stage4.server.stuck_receiver_delays_nobody_else"),
    Mutant("never_drops_a_stuck_client [contract]", f"{_S4}/server.c".replace("server.c", "outbox.c"),
           "if (waiting && wait_clock() >= *deadline) {", "if (waiting && wait_clock() >= *deadline + 600000) {", "stage4.server.stuck_receiver_is_dropped"),
    Mutant("client_deaf_while_typing [E01]", f"{_S4}/client.c", "    int n = poll(fds, 2, -1);", "    int n = poll(fds, listening ? 1 : 2, -1);",
           "stage4.client.basic"),
    # Found by review: mistakes that once passed.
    Mutant("busy_waiting [C24]", f"{_S2}/framing.c",
           "        n = recv(reader->fd, reader->input, sizeof reader->input, 0);\n    while (n == -1 && errno == EINTR);",
           "        n = recv(reader->fd, reader->input, sizeof reader->input, MSG_DONTWAIT);\n"
           "    while (n == -1 && (errno == EINTR || errno == EAGAIN));", "stage2.server.idle"),
    Mutant("keeps_every_past_client [C04]", f"{_S3}/server.c", "    free(client);\n    return NULL;",
           "    static _Atomic(struct client *) past;\n    client->next = past;\n    past = client;\n    return NULL;",
           "stage3.server.leaves_nothing", ((f"{_S3}/server.c", "    struct frame_reader reader;\n", "    struct frame_reader reader;\n    struct client *next;\n"),)),
    Mutant("newline_behind_BYE [B14]", f"{_S4}/outbox.c",
           "    if (!box->closed && last != NULL)\n        box->end += frame_encode(box->data + box->end, last, strlen(last));",
           "    if (!box->closed && last != NULL) {\n        box->end += frame_encode(box->data + box->end, last, strlen(last));\n"
           "        box->data[box->end++] = '\\n';\n    }", "stage4.server.quit"),
    Mutant("client_spins_at_the_end_of_stdin [E06]", f"{_S4}/client.c", "int listening = !client->at_end && !client->quit && !client->complete;",
           "int listening = !client->complete;", "stage4.client.idle"),
    Mutant("client_deaf_in_send [E12]", f"{_S4}/client.c",
           "    else if (outbox_append(&client->outbox, client->line, client->line_len) ==\n             -1)",
           "    else if (frame_write(client->outbox.fd, client->line,\n                         client->line_len) == -1)", "stage4.client.much_input"),
]
