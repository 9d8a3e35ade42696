/* client/owner.h: who asks, in words for people: the label of a session that is given none. */
#ifndef CLIENT_OWNER_H
#define CLIENT_OWNER_H

#include <stddef.h>

/* "user@host pid N command", in printable ASCII, cut at `size` - 1 characters; "?" for what is not
 * known. `command` is a list of words that ends in NULL; itself NULL: this process's own name. */
void owner_label(char *label, size_t size, char *const *command);

#endif
