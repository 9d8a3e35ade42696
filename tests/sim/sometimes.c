/* tests/sim/sometimes.c: the names of rare situations. */
#include "base/assert.h"
#include "tests/sim/sim.h"

static const struct {
    const char *name;
    const char *text;
} rows[SOMETIMES_COUNT] = {
#define SOMETIMES_ROW(name, text) {#name, text},
#undef SOMETIMES
#define SOMETIMES(name, text) SOMETIMES_ROW(name, text)
#include "tests/sim/sometimes.def"
};

const char *sim_sometimes_name(enum sim_sometimes which)
{
    ASSERT(which < SOMETIMES_COUNT);
    return rows[which].name;
}

const char *sim_sometimes_text(enum sim_sometimes which)
{
    ASSERT(which < SOMETIMES_COUNT);
    return rows[which].text;
}
