#ifndef STREAM_H
#define STREAM_H
#include "tool.h"
/* a growing string and a stream of messages */
typedef struct { char *data; size_t len, cap; } String;
bool String_add(String *s, const void *data, size_t len);
void String_free(String *s);
typedef struct { Tcp *tcp; String raw; size_t scanned; String body; } Stream;
enum { STREAM_MESSAGE = 1, STREAM_END = 0, STREAM_ERROR = -1, STREAM_TOO_LONG = -2, STREAM_NEED_MORE = -3 };
int Stream_next(Stream *s);           /* the next message in s->body, waits */
int Stream_take(Stream *s);           /* the same without waiting */
int Stream_more(Stream *s);           /* one recv */
void Stream_free(Stream *s);
bool Stream_encode(String *out, const char *body, size_t len);
bool Stream_send(Tcp *tcp, const char *body, size_t len);
void Stream_show(const char *label, const String *body);
#endif
