/* base/duration.h: durations as people write them: 500ms, 10s, 2m, 1h. */
#ifndef BASE_DURATION_H
#define BASE_DURATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"

/* False, with `*duration_ms` untouched, for anything else than digits (at most one point with up
 * to three decimals) and one of the units ms, s, m, h, or for more than 10 years. */
MUST_USE bool duration_parse(const char *text, uint64_t *duration_ms);

enum { DURATION_TEXT_SIZE = 24 };

/* "1.5s", "250ms", "2m10s"; at most DURATION_TEXT_SIZE - 1 characters. Returns `text`. */
const char *duration_to_text(uint64_t duration_ms, char text[DURATION_TEXT_SIZE]);

#endif
