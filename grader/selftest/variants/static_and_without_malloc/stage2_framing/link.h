/* link.h - byte-wise state machine of the DONE protocol */
#ifndef LINK_H
#define LINK_H
#include "hal.h"
#define LINK_MTU 4096U
typedef enum { LS_TEXT, LS_D, LS_DO, LS_DON, LS_ESC } link_state_t;
typedef enum { LE_MORE, LE_FRAME, LE_OVERRUN } link_event_t;
typedef struct { link_state_t state; uint16_t len; bool fresh; uint8_t body[LINK_MTU]; } link_rx_t;
void link_reset(link_rx_t *rx);
link_event_t link_feed(link_rx_t *rx, uint8_t byte);
size_t link_encode(uint8_t *dst, const uint8_t *src, size_t len);
bool link_is(const link_rx_t *rx, const char *word);
#endif
