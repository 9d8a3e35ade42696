/* jepsen/show.h: objects and operations as people read them. */
#ifndef JEPSEN_SHOW_H
#define JEPSEN_SHOW_H

#include <stdint.h>

#include "base/text.h"
#include "jepsen/history.h"

/* register "x" */
void show_object_name(const struct history *history, uint32_t key, struct text *text);

/* One line, indented: number, process, what was asked, the answer, the time from call to answer.
 * Long values are cut. */
void show_operation(const struct history *history, uint32_t number, struct text *text);

#endif
