/* server/restore.h: holdfastd --restore: a backup is put into an empty folder. */
#ifndef SERVER_RESTORE_H
#define SERVER_RESTORE_H

#include <stdbool.h>

#include "base/macros.h"
#include "base/text.h"

/* Copies `file` into `folder`, which is locked and has no other use yet, checks every byte of the
 * copy and makes it durable under the name that the node looks for. The same backup again is no
 * error. False, with `problem` saying what is wrong, where, and what to do; then the folder is as
 * it was. */
MUST_USE bool restore_prepare(const char *folder, const char *file, struct text *problem);

#endif
