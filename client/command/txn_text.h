/* client/command/txn_text.h: the text form of a transaction, as `holdfast txn` takes it. Pure.
 *
 *   if KEY exists | KEY absent | KEY = VALUE | KEY revision = N | KEY revision < N | KEY revision >
 * N then, else    put KEY VALUE | del KEY | get KEY
 *
 * Words are parted by blanks. A word in double quotes may hold blanks; in it \" \\ \n \t and \xHH
 * stand for the byte they name. */
#ifndef CLIENT_COMMAND_TXN_TEXT_H
#define CLIENT_COMMAND_TXN_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/bytes.h"
#include "base/macros.h"
#include "base/text.h"
#include "client/command/options.h"
#include "client/holdfast.h"

struct txn_text {
    struct buffer memory; /* What words stand for; the transaction borrows from it. */
    struct holdfast_transaction transaction;
    struct holdfast_compare compares[HOLDFAST_TRANSACTION_COUNT_MAX];
    struct holdfast_operation success[HOLDFAST_TRANSACTION_COUNT_MAX];
    struct holdfast_operation failure[HOLDFAST_TRANSACTION_COUNT_MAX];
};

void txn_text_init(struct txn_text *txn, struct buffer memory);

/* Adds one clause. False after saying in *problem what is wrong and what may stand there. */
MUST_USE bool txn_text_add(struct txn_text *txn, enum options_clause_kind kind, struct bytes clause,
                           struct text *problem);

/* The same for a line of a file: "if ...", "then ...", "else ..."; an empty one and one that begins
 * with # say nothing. */
MUST_USE bool txn_text_add_line(struct txn_text *txn, struct bytes line, struct text *problem);

#endif
