/* tests/support/log/golden.c: reads and writes sparse hexadecimal dumps. */
#include "tests/support/log/golden.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

enum { LINE_SIZE = 32, CAPACITY = 64 << 10 };

static FILE *open_golden(const char *name, const char *mode)
{
    char path[256];
    int length = snprintf(path, sizeof(path), "tests/golden/log/%s.hex", name);

    ASSERT(length > 0 && (size_t)length < sizeof(path));
    return fopen(path, mode);
}

static void write_golden(FILE *file, struct bytes bytes)
{
    static const uint8_t zeros[LINE_SIZE];

    ASSERT(bytes.size % LINE_SIZE == 0);
    for (size_t at = 0; at < bytes.size; at += LINE_SIZE) {
        if (memcmp(bytes.data + at, zeros, LINE_SIZE) == 0) {
            continue;
        }
        fprintf(file, "%05zx ", at);
        for (size_t i = 0; i < LINE_SIZE; i++) {
            fprintf(file, "%02x", bytes.data[at + i]);
        }
        fputc('\n', file);
    }
    fprintf(file, "%05zx\n", bytes.size);
}

bool log_golden_read(const char *name, struct buffer *to)
{
    char line[128];
    FILE *file = open_golden(name, "r");
    size_t size = 0;

    if (file == NULL) {
        return false;
    }
    memset(to->data, 0, to->capacity);
    while (fgets(line, sizeof(line), file) != NULL) {
        char *digits = NULL;
        size_t at = strtoul(line, &digits, 16);

        ASSERT(at <= to->capacity);
        size = at;
        for (size_t i = 0; *digits == ' ' && i < LINE_SIZE; i++) {
            unsigned byte = 0;

            if (at + i >= to->capacity || sscanf(digits + 1 + 2 * i, "%2x", &byte) != 1) {
                break;
            }
            to->data[at + i] = (uint8_t)byte;
        }
    }
    fclose(file);
    to->size = size;
    return true;
}

bool log_golden_matches(const char *name, struct bytes bytes)
{
    uint8_t *memory = malloc(CAPACITY);
    struct buffer golden = buffer_of(memory, CAPACITY);

    ASSERT(memory != NULL && bytes.size <= CAPACITY);
    if (getenv("GOLDEN_UPDATE") != NULL) {
        FILE *file = open_golden(name, "w");

        ASSERT(file != NULL);
        write_golden(file, bytes);
        fclose(file);
    }
    bool matches = log_golden_read(name, &golden) && golden.size == bytes.size;

    for (size_t at = 0; matches && at < bytes.size; at++) {
        if (golden.data[at] != bytes.data[at]) {
            fprintf(stderr, "%s: differs at %05zx\n", name, at);
            matches = false;
        }
    }
    free(memory);
    return matches;
}
