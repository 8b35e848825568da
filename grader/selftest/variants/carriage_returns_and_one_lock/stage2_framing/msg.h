#ifndef MSG_H
#define MSG_H
#include "winport.h"
#define MAX_BODY 4096
#define MAX_WIRE (2 * MAX_BODY + 4)
typedef struct tagBUFFER { char *p; int n, cap; } BUFFER;
typedef struct tagREADER { char raw[MAX_WIRE + 4096]; int n; char body[MAX_BODY]; int len; } READER;
enum { MSG_OK = 1, MSG_NONE = 0, MSG_TOOLONG = -2, MSG_CLOSED = -3, MSG_FAILED = -1 };
int ReaderTake(READER *r);                  /* complete message out of raw */
int ReaderReceive(READER *r, SOCKET s);     /* one recv(): MSG_OK, MSG_NONE (would block), MSG_CLOSED, MSG_FAILED */
int ReaderGet(READER *r, SOCKET s);         /* waits with select() */
int Encode(char *out, const char *body, int len);
BOOL SendMessageTo(SOCKET s, const char *body, int len);
void PrintMessage(const char *label, const char *body, int len);
#endif
