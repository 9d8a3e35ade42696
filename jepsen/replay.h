/* jepsen/replay.h: checks a history against the log's own order, the revisions in the answers.
 *
 * Independent of the search in jepsen/wgl.h, and stronger in one respect: the changes of all
 * objects are in one order. It takes n log n steps for n operations. What it calls not valid is
 * not linearizable in the order that the log has. Where an unknown outcome, or an answer without a
 * revision, makes more than one state possible, it counts the operation as undecided and leaves it
 * to the search. */
#ifndef JEPSEN_REPLAY_H
#define JEPSEN_REPLAY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/macros.h"
#include "base/text.h"
#include "jepsen/history.h"

/* X(name, text): the laws. */
#define REPLAY_LAW_LIST(X)                                                                         \
    X(ONE_CHANGE, "one revision names one change")                                                 \
    X(REAL_TIME, "what is called after an answer comes later in the log")                          \
    X(VALUE_SEEN, "a read sees the value that its revision was written with")                      \
    X(FRESH, "a read sees the newest change that was answered before it was called")               \
    X(EXPECTED, "a compare-and-swap or a delete succeeds on what it expects only")                 \
    X(REFUSED, "a refusal, or an absent value, needs a state that explains it")                    \
    X(ONE_GRANT, "one token names one grant")                                                      \
    X(TOKEN_ORDER, "tokens grow with time, over all locks")

#define REPLAY_AS_LAW(name, text) REPLAY_##name,
enum replay_law { REPLAY_LAW_LIST(REPLAY_AS_LAW) REPLAY_LAW_COUNT };
#undef REPLAY_AS_LAW

struct replay_report {
    bool valid;
    uint32_t operation_count; /* With a place in the log's order. */
    uint32_t undecided_count;
    enum replay_law law; /* The first that was found broken; the rest only when not valid. */
    uint32_t operation;  /* Number of the operation that breaks it. */
    uint32_t other;      /* The one that it contradicts; HISTORY_NONE: none is named. */
};

/* A revision of a grant is that of an acquire which was granted at once, not of one that waited.
 * ERR_FULL when there is not the memory; then there is no verdict. */
MUST_USE enum error replay_check(const struct history *history, struct replay_report *report);

void replay_explain(const struct replay_report *report, const struct history *history,
                    struct text *text);

#endif
