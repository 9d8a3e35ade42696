/* client/command/exit.c: results as exit statuses. Pure. */
#include "client/command/exit.h"

#include "base/assert.h"

enum exit_status exit_of_result(const struct holdfast_result *result, bool is_write)
{
    ASSERT(result != NULL);
    bool is_unknown = is_write && result->outcome == HOLDFAST_UNKNOWN;

    switch (result->status) {
    case HOLDFAST_OK:
        return EXIT_DONE;
    case HOLDFAST_NOT_FOUND:
    case HOLDFAST_MISMATCH:
        return EXIT_NO;
    case HOLDFAST_HELD:
        return EXIT_NOT_ACQUIRED;
    case HOLDFAST_LOST:
        return EXIT_LOST;
    case HOLDFAST_MALFORMED:
        return EXIT_INPUT;
    case HOLDFAST_NO_QUORUM:
    case HOLDFAST_TIMEOUT:
    case HOLDFAST_UNKNOWN_OUTCOME:
    case HOLDFAST_CANCELLED:
    case HOLDFAST_CLOSED:
    case HOLDFAST_NOT_LEADER:
    case HOLDFAST_NOT_FORMED:
    case HOLDFAST_STOPPING:
        return is_unknown ? EXIT_UNKNOWN : EXIT_NO_QUORUM;
    case HOLDFAST_STALE:
        return is_unknown ? EXIT_UNKNOWN : EXIT_REFUSED;
    case HOLDFAST_OVERLOADED:
    case HOLDFAST_RATE_LIMITED:
    case HOLDFAST_REFUSED:
    case HOLDFAST_TTL_TOO_SHORT:
    case HOLDFAST_SESSION_EXPIRED:
    case HOLDFAST_FENCED:
    case HOLDFAST_TOO_LARGE:
    case HOLDFAST_AUTH:
    case HOLDFAST_SEQUENCE_GAP:
    case HOLDFAST_UNKNOWN_METHOD:
    case HOLDFAST_COMPACTED:
        return EXIT_REFUSED;
    }
    UNREACHABLE();
}

enum exit_status exit_of_acquire(const struct holdfast_result *result)
{
    ASSERT(result->status != HOLDFAST_OK);

    switch (exit_of_result(result, false)) {
    case EXIT_NO:
    case EXIT_NOT_ACQUIRED:
    case EXIT_LOST:
        return EXIT_NOT_ACQUIRED;
    case EXIT_NO_QUORUM:
        return EXIT_NO_QUORUM;
    case EXIT_INPUT:
        return EXIT_INPUT;
    case EXIT_REFUSED:
        return result->status == HOLDFAST_SESSION_EXPIRED ? EXIT_NOT_ACQUIRED : EXIT_REFUSED;
    case EXIT_DONE:
    case EXIT_USAGE:
    case EXIT_UNKNOWN:
    case EXIT_CONFIGURATION:
    case EXIT_CANNOT_RUN:
    case EXIT_NOT_THERE:
    case EXIT_SIGNAL_BASE:
        break;
    }
    UNREACHABLE();
}

const char *exit_advice(enum holdfast_status status)
{
    switch (status) {
    case HOLDFAST_HELD:
        return "wait for it with --wait, or see who holds it with `holdfast locks show`";
    case HOLDFAST_NO_QUORUM:
    case HOLDFAST_NOT_LEADER:
    case HOLDFAST_NOT_FORMED:
    case HOLDFAST_TIMEOUT:
    case HOLDFAST_CLOSED:
        return "see which nodes answer with `holdfast status`";
    case HOLDFAST_UNKNOWN_OUTCOME:
        return "read it back before trying again";
    case HOLDFAST_OVERLOADED:
    case HOLDFAST_RATE_LIMITED:
    case HOLDFAST_STOPPING:
        return "try again later";
    case HOLDFAST_TTL_TOO_SHORT:
        return "give a larger --ttl";
    case HOLDFAST_TOO_LARGE:
        return "keys have 480 bytes at most, values 512 KiB, names of locks 255";
    case HOLDFAST_UNKNOWN_METHOD:
        return "the nodes are older than this command: update them";
    case HOLDFAST_LOST:
    case HOLDFAST_SESSION_EXPIRED:
        return "run it again";
    case HOLDFAST_AUTH:
        return "give --auth-file FILE, or set HOLDFAST_AUTH_FILE, with a line `NAME TOKEN` that "
               "the "
               "nodes know";
    case HOLDFAST_OK:
    case HOLDFAST_REFUSED:
    case HOLDFAST_FENCED:
    case HOLDFAST_NOT_FOUND:
    case HOLDFAST_MISMATCH:
    case HOLDFAST_SEQUENCE_GAP:
    case HOLDFAST_STALE:
    case HOLDFAST_MALFORMED:
    case HOLDFAST_CANCELLED:
    case HOLDFAST_COMPACTED:
        return "";
    }
    UNREACHABLE();
}
