#include "tests/support/wire/golden.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"

enum { LINE_BYTES = 32 };

bool golden_is_updated(void)
{
    return getenv("GOLDEN_UPDATE") != NULL;
}

static FILE *open_golden(const char *name, const char *mode)
{
    char path[128];
    int size = snprintf(path, sizeof(path), "tests/golden/wire/%s.hex", name);

    ASSERT_VALUES(size > 0 && (size_t)size < sizeof(path), size, sizeof(path));
    return fopen(path, mode);
}

bool golden_write(const char *name, struct bytes bytes)
{
    FILE *file = open_golden(name, "w");

    if (file == NULL) {
        return false;
    }
    (void)fprintf(file, "# %s: %zu bytes\n", name, bytes.size);
    for (size_t i = 0; i < bytes.size; i++) {
        bool ends_line = i % LINE_BYTES == LINE_BYTES - 1 || i + 1 == bytes.size;
        (void)fprintf(file, "%02x%s", (unsigned)bytes.data[i], ends_line ? "\n" : "");
    }
    bool written = ferror(file) == 0;
    return fclose(file) == 0 && written;
}

static int digit_of(char digit)
{
    if (digit >= '0' && digit <= '9') {
        return digit - '0';
    }
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

static bool read_line(const char *line, struct buffer *to)
{
    while (*line != '\n' && *line != '\0') {
        int high = digit_of(line[0]);
        int low = high < 0 ? -1 : digit_of(line[1]);
        uint8_t byte = (uint8_t)(high * 16 + low);

        if (low < 0 || !buffer_append(to, bytes_of(&byte, 1))) {
            return false;
        }
        line += 2;
    }
    return true;
}

bool golden_read(const char *name, struct buffer *to)
{
    char line[256];
    FILE *file = open_golden(name, "r");

    if (file == NULL) {
        return false;
    }
    bool good = true;
    while (good && fgets(line, sizeof(line), file) != NULL) {
        good = line[0] == '#' || read_line(line, to);
    }
    (void)fclose(file);
    return good;
}
