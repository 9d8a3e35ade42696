/* tests/unit/wire/protocol_test.c: docs/protocol.md says of every field what messages.def says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "wire/internal.h"

enum { PAGE_SIZE_MAX = 256 << 10 };

static char page[PAGE_SIZE_MAX];

static int read_page(void **state)
{
    FILE *file = fopen("docs/protocol.md", "r");
    (void)state;

    if (file == NULL) {
        return -1;
    }
    size_t size = fread(page, 1, sizeof(page) - 1, file);
    page[size] = '\0';
    (void)fclose(file);
    return size == 0 || size == sizeof(page) - 1 ? -1 : 0;
}

/* What stands between the heading of a message and the next heading, as a copy. */
static const char *section_of(const char *message)
{
    static char section[16 << 10];
    char heading[64];
    (void)snprintf(heading, sizeof(heading), "\n### `%s`", message);
    const char *begin = strstr(page, heading);

    if (begin == NULL) {
        print_error("docs/protocol.md has no section on %s\n", message);
        fail();
        return NULL;
    }
    begin += strlen(heading);
    const char *end = strstr(begin, "\n##");
    size_t size = end == NULL ? strlen(begin) : (size_t)(end - begin);
    assert_true(size < sizeof(section));
    memcpy(section, begin, size);
    section[size] = '\0';
    return section;
}

static void type_to_text(const struct wire_field *field, char *text, size_t size)
{
    static const char *const names[] = {"u64", "u32", "bool", "bytes", "text", "list"};

    if (field->limit == 0) {
        (void)snprintf(text, size, "%s", names[field->type]);
    } else {
        (void)snprintf(text, size, "%s, at most %u", names[field->type], (unsigned)field->limit);
    }
}

static void every_field_has_its_row(void **state)
{
    (void)state;
    static const char *const presences[] = {
        [WIRE_OPTIONAL] = "optional",
        [WIRE_REQUIRED] = "required",
        [WIRE_FILLED] = "required, not empty",
    };

    for (uint32_t id = 0; id < WIRE_MESSAGE_COUNT; id++) {
        const struct wire_message *message = wire_message_of((enum wire_message_id)id);
        const char *section = section_of(message->name);
        uint32_t row_count = 0;

        for (const char *row = strstr(section, "\n| `"); row != NULL;
             row = strstr(row + 1, "\n| `")) {
            row_count++;
        }
        assert_int_equal(row_count, message->field_count);
        for (uint32_t i = 0; i < message->field_count; i++) {
            const struct wire_field *field = &message->fields[i];
            char type[64];
            char row[128];
            type_to_text(field, type, sizeof(type));
            (void)snprintf(row, sizeof(row), "\n| `%s` | %s | %s |", field->key, type,
                           presences[field->presence]);

            if (strstr(section, row) == NULL) {
                print_error("docs/protocol.md, %s: no row that says%s\n", message->name, row);
                fail();
            }
        }
    }
}

static void every_number_of_a_method_or_notice_is_named(void **state)
{
    (void)state;
    static const char *const headings[] = {
#define METHOD(number, name) "\n### `" #name "` (method " #number ")\n",
#define NOTICE(number, name) "\n### `" #name "` (notice " #number ")\n",
#include "wire/messages.def"
#undef METHOD
#undef NOTICE
    };

    for (size_t i = 0; i < COUNT_OF(headings); i++) {
        assert_non_null(strstr(page, headings[i]));
    }
}

static void every_error_is_in_the_table(void **state)
{
    (void)state;
    static const char *const outcomes[] = {"OK", "REJECTED", "UNKNOWN"};

    for (unsigned number = 1; number < 100; number++) {
        enum error error = error_from_number(number);
        char row[256];
        if ((unsigned)error != number) {
            continue;
        }
        (void)snprintf(row, sizeof(row), "\n| %u | `%s` | %s |", number, error_name(error),
                       outcomes[error_outcome(error)]);

        assert_non_null(strstr(page, row));
    }
}

static void every_limit_is_named(void **state)
{
    (void)state;
    static const unsigned limits[] = {WIRE_FRAME_SIZE_MAX, WIRE_TOKEN_COUNT_MAX, WIRE_DEPTH_MAX,
                                      WIRE_METHOD_NAME_SIZE_MAX};
    static const char *const sentences[] = {"at most %u bytes (`frame_size_max`",
                                            "at most %u values in all", "at most %u levels",
                                            "string of at most %u bytes"};

    for (size_t i = 0; i < COUNT_OF(limits); i++) {
        char sentence[128];
        const char *at = strstr(sentences[i], "%u");
        (void)snprintf(sentence, sizeof(sentence), "%.*s%u%s", (int)(at - sentences[i]),
                       sentences[i], limits[i], at + 2);
        if (strstr(page, sentence) == NULL) {
            print_error("docs/protocol.md does not say: %s\n", sentence);
            fail();
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_field_has_its_row),
        cmocka_unit_test(every_number_of_a_method_or_notice_is_named),
        cmocka_unit_test(every_error_is_in_the_table),
        cmocka_unit_test(every_limit_is_named),
    };
    return cmocka_run_group_tests_name("wire/protocol", tests, read_page, NULL);
}
