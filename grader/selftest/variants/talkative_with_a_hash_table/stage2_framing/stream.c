#include "stream.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

bool String_add(String *s, const void *data, size_t len)
{
    if (s->len + len + 1 > s->cap) {
        size_t cap = s->cap ? s->cap : 64;
        while (cap < s->len + len + 1) cap *= 2;
        char *p = realloc(s->data, cap);
        if (!p) return false;
        s->data = p;
        s->cap = cap;
    }
    if (len) memcpy(s->data + s->len, data, len);
    s->len += len;
    s->data[s->len] = '\0';
    return true;
}
void String_free(String *s) { free(s->data); *s = (String){0}; }
void Stream_free(Stream *s) { String_free(&s->raw); String_free(&s->body); }

/* looks for an unescaped DONE in raw and decodes what is before it */
int Stream_take(Stream *s)
{
    size_t i = 0, n = 0;
    const char *r = s->raw.data;
    while (i < s->raw.len) {
        if (r[i] == '\\') { 
            if (i + 1 >= s->raw.len) break;
            i += 2; n++;
        } else if (r[i] == 'D') {
            size_t have = s->raw.len - i < 4 ? s->raw.len - i : 4;
            if (memcmp(r + i, "DONE", have) == 0) {
                if (have < 4) break;
                s->body.len = 0;
                if (!String_add(&s->body, "", 0)) return STREAM_ERROR;
                for (size_t k = 0; k < i; k++) {
                    if (r[k] == '\\') k++;
                    if (!String_add(&s->body, r + k, 1)) return STREAM_ERROR;
                }
                memmove(s->raw.data, r + i + 4, s->raw.len - i - 4);
                s->raw.len -= i + 4;
                return STREAM_MESSAGE;
            }
            i++; n++;
        } else { i++; n++; }
        if (n > 4096) return STREAM_TOO_LONG;
    }
    return STREAM_NEED_MORE;
}
int Stream_more(Stream *s)
{
    char piece[2000];
    long n = s->tcp->read(s->tcp, piece, sizeof piece);
    if (n == 0) return STREAM_END;
    if (n < 0) return errno == EAGAIN ? STREAM_NEED_MORE : STREAM_ERROR;
    return String_add(&s->raw, piece, (size_t)n) ? STREAM_MESSAGE : STREAM_ERROR;
}
int Stream_next(Stream *s)
{
    for (;;) {
        int r = Stream_take(s);
        if (r != STREAM_NEED_MORE) return r;
        r = Stream_more(s);
        if (r == STREAM_END || r == STREAM_ERROR) return r;
    }
}
bool Stream_encode(String *out, const char *body, size_t len)
{
    bool ok = true;
    for (size_t i = 0; ok && i < len; i++) {
        if (body[i] == '\\' || (len - i >= 4 && memcmp(body + i, "DONE", 4) == 0))
            ok = String_add(out, "\\", 1);
        ok = ok && String_add(out, body + i, 1);
    }
    return ok && String_add(out, "DONE", 4);
}
bool Stream_send(Tcp *tcp, const char *body, size_t len)
{
    String wire = {0};
    bool ok = Stream_encode(&wire, body, len) && tcp->write(tcp, wire.data, wire.len);
    String_free(&wire);
    return ok;
}
void Stream_show(const char *label, const String *body)
{
    flockfile(stdout);
    fputs(label, stdout);
    if (body->len) fwrite(body->data, body->len, 1, stdout);
    fputs("\n", stdout);
    fflush(stdout);
    funlockfile(stdout);
}
