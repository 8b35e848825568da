"""Correct but unusual programs, as small patches on the solutions: each must keep all points."""

from __future__ import annotations

from grader.selftest.mutants import Mutant

_S1, _S2, _S4 = "stage1_echo", "stage2_framing", "stage4_relay"
_MAIN = "int main(int argc, char **argv)\n{\n"

# With the stage that is graded; nothing is to be caught.
VARIANTS = [
    (1, Mutant("client_reads_until_the_close", f"{_S1}/client.c",
               "    ssize_t len;\n    do\n        len = recv(fd, reply, sizeof reply, 0);\n    while (len == -1 && errno == EINTR);\n"
               "    if (len <= 0)\n        return (int)len;\n",
               "    ssize_t len = 0, n;\n    while ((n = recv(fd, reply + len, sizeof reply - (size_t)len, 0)) > 0)\n        len += n;\n"
               "    if (n == -1 || len == 0)\n        return (int)n;\n", "")),
    (1, Mutant("server_ignores_SIGTERM", f"{_S1}/server.c", _MAIN, "#include <signal.h>\n\n" + _MAIN + "    signal(SIGTERM, SIG_IGN);\n", "")),
    (1, Mutant("short_backlog", f"{_S1}/net.c", "BACKLOG = 128", "BACKLOG = 5", "")),
    (2, Mutant("client_with_a_prompt", f"{_S2}/client.c", "        ssize_t n = getline(line, size, stdin);",
               "        fputs(\"> \", stdout);\n        fflush(stdout);\n        ssize_t n = getline(line, size, stdin);", "")),
    (2, Mutant("one_byte_for_each_recv", f"{_S2}/framing.c", "recv(reader->fd, reader->input, sizeof reader->input, 0)",
               "recv(reader->fd, reader->input, 1, 0)", "")),
    (2, Mutant("body_and_DONE_in_two_sends", f"{_S2}/framing.c", "    return send_all(fd, wire, frame_encode(wire, body, len));",
               "    size_t n = frame_encode(wire, body, len);\n    if (send_all(fd, wire, n - 4) == -1)\n        return -1;\n"
               "    return send_all(fd, wire + n - 4, 4);", "")),
    (2, Mutant("too_long_is_answered_at_the_end_of_the_message", f"{_S2}/framing.c",
               "        if (reader->len - reader->matched > FRAME_BODY_MAX) {\n            errno = EMSGSIZE;\n            return -1;\n        }\n",
               "        if (reader->len - reader->matched > FRAME_BODY_MAX) {\n            long_body = 1;\n            reader->len = reader->matched;\n        }\n", "",
               ((f"{_S2}/framing.c", "    while (reader->start < reader->end && reader->matched < DONE_LEN) {",
                 "    static _Thread_local int long_body;\n    while (reader->start < reader->end && reader->matched < DONE_LEN) {"),
                (f"{_S2}/framing.c", "    reader->len -= DONE_LEN;\n    return 1;",
                 "    reader->len -= DONE_LEN;\n    if (long_body) {\n        long_body = 0;\n        errno = EMSGSIZE;\n        return -1;\n    }\n    return 1;")))),
    (4, Mutant("TO_a_missing_user_without_a_text", f"{_S4}/server.c", "    if (space == NULL) {\n        reply(session, \"ERR bad command\");\n        return;\n    }\n",
               "    if (space == NULL) {\n        struct peer *known = names_find(session->names, rest, len);\n"
               "        reply(session, known ? \"ERR bad command\" : \"ERR no such user\");\n"
               "        if (known)\n            names_release(session->names, known);\n        return;\n    }\n", "")),
]
