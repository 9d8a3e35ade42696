/* jepsen/tokens.h: the laws of fencing tokens, for all locks of a history together. */
#ifndef JEPSEN_TOKENS_H
#define JEPSEN_TOKENS_H

#include "base/error.h"
#include "base/macros.h"
#include "jepsen/history.h"
#include "jepsen/replay.h"

/* A token belongs to one owner of one lock, and of two grants the one that surely came later has
 * the larger token. An owner may ask again and be told the token that it has; a grant may have
 * been made by an earlier acquire of the owner whose outcome is unknown. Changes *report when a
 * law is broken. ERR_FULL when there is not the memory. */
MUST_USE enum error tokens_check(const struct history *history, struct replay_report *report);

#endif
