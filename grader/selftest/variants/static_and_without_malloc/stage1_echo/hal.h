/* hal.h - hardware abstraction: the network as a serial line */
#ifndef HAL_H
#define HAL_H
#include <stdint.h>
#include <stdbool.h>
#include <stddef.h>
typedef enum { HAL_OK = 0, HAL_EOF = 1, HAL_ERR = 2, HAL_BUSY = 3 } hal_status_t;
bool     hal_parse_u16(const char *p, uint16_t *out);
int32_t  hal_open_server(const char *addr, uint16_t port);
int32_t  hal_open_client(const char *addr, uint16_t port);
int32_t  hal_wait_client(int32_t listener);
void     hal_puts(const char *s);
void     hal_line(const char *label, const uint8_t *data, size_t len);
hal_status_t hal_tx(int32_t fd, const uint8_t *data, size_t len);
#endif
