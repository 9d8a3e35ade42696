/* tests/fuzz/fuzz_credentials.c: any text as a file of tokens.
 *
 * Laws: nothing outside of the text is read; a refusal says why in one line; of a text that is
 * taken each token is found as a whole, and none with a byte more or less that is not another's. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "base/credentials.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct credentials credentials;
    char problem[CREDENTIALS_PROBLEM_SIZE] = "";

    if (!credentials_parse(&credentials, bytes_of(data, size), problem)) {
        ASSERT(problem[0] != '\0' && strchr(problem, '\n') == NULL);
        return 0;
    }
    ASSERT(credentials.count >= 1 && credentials.count <= CREDENTIAL_COUNT_MAX);
    for (uint32_t i = 0; i < credentials.count; i++) {
        const struct credential *item = &credentials.items[i];
        struct bytes token = bytes_of(item->token, item->token_size);

        ASSERT(item->name[0] != '\0' && token.size >= 1);
        ASSERT(credentials_find(&credentials, token) == item);
        token.size--;
        ASSERT(credentials_find(&credentials, token) != item);
    }
    return 0;
}
