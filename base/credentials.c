/* base/credentials.c: lines of a name and a token, and the comparison that tells no time. */
#include "base/credentials.h"

#include <string.h>

#include "base/assert.h"
#include "base/text.h"

static bool refuse(char problem[CREDENTIALS_PROBLEM_SIZE], uint32_t line, const char *what)
{
    struct text text;

    text_init(&text, problem, CREDENTIALS_PROBLEM_SIZE);
    if (line != 0) {
        text_add(&text, "line ");
        text_add_u64(&text, line);
        text_add(&text, ": ");
    }
    text_add(&text, what);
    return false;
}

static bool is_blank(uint8_t byte)
{
    return byte == ' ' || byte == '\t' || byte == '\r';
}

/* Takes the next word of printable ASCII; empty at the end of the line. */
static struct bytes next_word(struct bytes *line)
{
    size_t size = 0;

    while (line->size != 0 && is_blank(line->data[0])) {
        *line = bytes_skip(*line, 1);
    }
    while (size < line->size && !is_blank(line->data[size])) {
        size++;
    }
    struct bytes word = bytes_of(line->data, size);

    *line = bytes_skip(*line, size);
    return word;
}

static bool is_printable(struct bytes word)
{
    for (size_t i = 0; i < word.size; i++) {
        if (word.data[i] < '!' || word.data[i] > '~') {
            return false;
        }
    }
    return true;
}

static bool take_line(struct credentials *credentials, struct bytes line, uint32_t number,
                      char problem[CREDENTIALS_PROBLEM_SIZE])
{
    struct bytes name = next_word(&line);
    struct bytes token = next_word(&line);

    if (name.size == 0 || name.data[0] == '#') {
        return true;
    }
    if (token.size == 0 || next_word(&line).size != 0) {
        return refuse(problem, number, "not a name and a token, parted by a space");
    }
    if (name.size > CREDENTIAL_NAME_SIZE_MAX || token.size > CREDENTIAL_TOKEN_SIZE_MAX) {
        return refuse(problem, number, "a name has at most 64 bytes, a token 255");
    }
    if (!is_printable(name) || !is_printable(token)) {
        return refuse(problem, number, "names and tokens are printable ASCII");
    }
    if (credentials->count == CREDENTIAL_COUNT_MAX) {
        return refuse(problem, number, "one too many: there are at most 128 tokens");
    }
    if (credentials_find(credentials, token) != NULL) {
        return refuse(problem, number, "that token stands in an earlier line, too");
    }
    struct credential *added = &credentials->items[credentials->count];

    memset(added, 0, sizeof(*added));
    memcpy(added->name, name.data, name.size);
    memcpy(added->token, token.data, token.size);
    added->token_size = (uint8_t)token.size;
    credentials->count++;
    return true;
}

bool credentials_parse(struct credentials *credentials, struct bytes text,
                       char problem[CREDENTIALS_PROBLEM_SIZE])
{
    uint32_t number = 0;

    credentials->count = 0;
    while (text.size != 0) {
        size_t size = 0;

        while (size < text.size && text.data[size] != '\n') {
            size++;
        }
        number++;
        if (!take_line(credentials, bytes_of(text.data, size), number, problem)) {
            return false;
        }
        text = bytes_skip(text, size_min(size + 1, text.size));
    }
    return credentials->count != 0 || refuse(problem, 0, "there is no token in it");
}

/* Not 0 when they differ. The reads are volatile, so that no compiler makes it end early. */
static uint32_t difference(const struct credential *credential, const uint8_t *token, size_t size)
{
    const volatile uint8_t *left = credential->token;
    const volatile uint8_t *right = token;
    uint32_t differs = (uint32_t)(credential->token_size ^ size);

    for (size_t i = 0; i < CREDENTIAL_TOKEN_SIZE_MAX; i++) {
        differs |= (uint32_t)(left[i] ^ right[i]);
    }
    return differs;
}

const struct credential *credentials_find(const struct credentials *credentials, struct bytes token)
{
    uint8_t padded[CREDENTIAL_TOKEN_SIZE_MAX] = {0};
    uint32_t found = credentials->count;

    ASSERT(token.size <= CREDENTIAL_TOKEN_SIZE_MAX);
    if (token.size != 0) {
        memcpy(padded, token.data, token.size);
    }
    for (uint32_t i = 0; i < credentials->count; i++) {
        uint32_t differs = difference(&credentials->items[i], padded, token.size);
        /* All ones when they are equal. */
        uint32_t mask = (uint32_t)(((uint64_t)differs - 1) >> 32);

        found = (i & mask) | (found & ~mask);
    }
    return found == credentials->count ? NULL : &credentials->items[found];
}
