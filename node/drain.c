/* node/drain.c: the measured rate of a queue. */
#include "node/drain.h"

#include "base/assert.h"

void drain_note(struct drain *drain, uint64_t units, uint64_t now_ms)
{
    ASSERT_VALUES(units <= UINT32_MAX, units, now_ms);
    if (!drain->is_running) {
        /* What leaves with this call was there before the window. */
        drain->is_running = true;
        drain->begin_ms = now_ms;
        drain->units = 0;
        return;
    }
    ASSERT_VALUES(now_ms >= drain->begin_ms, now_ms, drain->begin_ms);
    uint64_t elapsed_ms = now_ms - drain->begin_ms;

    drain->units += units;
    if (elapsed_ms < DRAIN_WINDOW_MS) {
        return;
    }
    uint64_t sample = drain->units * 1000 / elapsed_ms;

    if (drain->rate == 0) {
        drain->rate = sample;
    } else if (sample > drain->rate) {
        drain->rate += (sample - drain->rate + 3) / 4;
    } else {
        drain->rate -= (drain->rate - sample) / 4;
    }
    drain->begin_ms = now_ms;
    drain->units = 0;
}

void drain_pause(struct drain *drain)
{
    drain->is_running = false;
}

uint32_t drain_time_ms(const struct drain *drain, uint64_t units, uint64_t unknown_ms,
                       uint32_t ms_max)
{
    ASSERT_VALUES(units < UINT64_C(1) << 40, units, ms_max);
    ASSERT_VALUES(ms_max >= 1, ms_max, units);
    uint64_t time_ms =
        drain->rate == 0 ? unknown_ms : (units * 1000 + drain->rate - 1) / drain->rate;

    if (time_ms < 1) {
        return 1;
    }
    return time_ms < ms_max ? (uint32_t)time_ms : ms_max;
}
