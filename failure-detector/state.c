/* failure-detector/state.c: the states of a peer, and which follow which.
 *
 *   UNWATCHED --watch--> UNKNOWN --heard--> TRUSTED <--hangs / well again--> GRAYED
 *                           |                 |  ^                             |
 *                           +---silent--------+--|-----------------------------+
 *                                             v  |
 *                                          SUSPECTED        (to be forgotten, or watched anew,
 *                                                            is to be cleared: no move) */
#include "base/assert.h"
#include "failure-detector/internal.h"

enum { STATE_COUNT = DETECTOR_SUSPECTED + 1 };

#define BIT(state) (1U << (state))

static const uint32_t moves[STATE_COUNT] = {
    [DETECTOR_UNWATCHED] = BIT(DETECTOR_UNKNOWN),
    [DETECTOR_UNKNOWN] = BIT(DETECTOR_TRUSTED) | BIT(DETECTOR_SUSPECTED),
    [DETECTOR_TRUSTED] = BIT(DETECTOR_GRAYED) | BIT(DETECTOR_SUSPECTED),
    [DETECTOR_GRAYED] = BIT(DETECTOR_TRUSTED) | BIT(DETECTOR_SUSPECTED),
    [DETECTOR_SUSPECTED] = BIT(DETECTOR_TRUSTED),
};

void state_move(struct detector *detector, struct peer *peer, enum detector_state state)
{
    ASSERT_VALUES((moves[peer->state] & BIT(state)) != 0, peer->state, state);
    peer->state = state;
    if (state == DETECTOR_SUSPECTED) {
        peer->suspected_ms = detector->now_ms;
        peer->pending_ms = detector->now_ms - peer->heard_ms;
    }
}

bool state_is_watched(enum detector_state state)
{
    return state != DETECTOR_UNWATCHED;
}

const char *detector_state_name(enum detector_state state)
{
    switch (state) {
    case DETECTOR_UNWATCHED:
        return "unwatched";
    case DETECTOR_UNKNOWN:
        return "unknown";
    case DETECTOR_TRUSTED:
        return "trusted";
    case DETECTOR_GRAYED:
        return "gray";
    case DETECTOR_SUSPECTED:
        return "suspected";
    }
    UNREACHABLE();
}
