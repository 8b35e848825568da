#include "link.h"
#include <string.h>

void link_reset(link_rx_t *rx) { rx->state = LS_TEXT; rx->len = 0U; rx->fresh = false; }

static bool store(link_rx_t *rx, const char *text, size_t n)
{
    if ((size_t)rx->len + n > LINK_MTU) { return false; }
    memcpy(&rx->body[rx->len], text, n);
    rx->len = (uint16_t)(rx->len + n);
    return true;
}

link_event_t link_feed(link_rx_t *rx, uint8_t b)
{
    bool ok = true;
    const char c = (char)b;
    if (rx->fresh) { rx->fresh = false; rx->len = 0U; }
    switch (rx->state) {
    case LS_ESC:
        ok = store(rx, &c, 1);
        rx->state = LS_TEXT;
        return ok ? LE_MORE : LE_OVERRUN;
    case LS_D:
        if (b == 'O') { rx->state = LS_DO; return LE_MORE; }
        ok = store(rx, "D", 1);
        break;
    case LS_DO:
        if (b == 'N') { rx->state = LS_DON; return LE_MORE; }
        ok = store(rx, "DO", 2);
        break;
    case LS_DON:
        if (b == 'E') { rx->state = LS_TEXT; rx->fresh = true; return LE_FRAME; }
        ok = store(rx, "DON", 3);
        break;
    case LS_TEXT:
    default:
        break;
    }
    if (b == '\\') { rx->state = LS_ESC; }
    else if (b == 'D') { rx->state = LS_D; }
    else { rx->state = LS_TEXT; ok = ok && store(rx, &c, 1); }
    return ok ? LE_MORE : LE_OVERRUN;
}

size_t link_encode(uint8_t *dst, const uint8_t *src, size_t len)
{
    size_t n = 0U, i;
    for (i = 0U; i < len; i++) {
        bool esc = (src[i] == '\\');
        if ((src[i] == 'D') && (len - i >= 4U) && (src[i + 1U] == 'O') && (src[i + 2U] == 'N') && (src[i + 3U] == 'E')) { esc = true; }
        if (esc) { dst[n++] = '\\'; }
        dst[n++] = src[i];
    }
    dst[n++] = 'D'; dst[n++] = 'O'; dst[n++] = 'N'; dst[n++] = 'E';
    return n;
}

bool link_is(const link_rx_t *rx, const char *word)
{
    return (rx->len == strlen(word)) && (memcmp(rx->body, word, rx->len) == 0);
}
