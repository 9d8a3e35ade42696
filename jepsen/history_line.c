/* jepsen/history_line.c: as much of JSON as a history needs. Nothing is nested but lists of plain
 * values; what is nested deeper is stepped over. */
#include "jepsen/history_line.h"

#include <string.h>

#include "base/assert.h"

/* Positions in text that strings are unescaped in. */
struct cursor {
    char *at;
    char *end;
};

static void skip_space(struct cursor *cursor)
{
    while (cursor->at < cursor->end && (*cursor->at == ' ' || *cursor->at == '\t' ||
                                        *cursor->at == '\r' || *cursor->at == '\n')) {
        cursor->at++;
    }
}

/* True, and behind it, when the next character is `wanted`. */
static bool take_character(struct cursor *cursor, char wanted)
{
    skip_space(cursor);
    if (cursor->at < cursor->end && *cursor->at == wanted) {
        cursor->at++;
        return true;
    }
    return false;
}

static bool take_word(struct cursor *cursor, const char *word)
{
    size_t size = strlen(word);

    if ((size_t)(cursor->end - cursor->at) < size || memcmp(cursor->at, word, size) != 0) {
        return false;
    }
    cursor->at += size;
    return true;
}

static int hex_digit(char digit)
{
    return digit >= '0' && digit <= '9'   ? digit - '0'
           : digit >= 'a' && digit <= 'f' ? digit - 'a' + 10
           : digit >= 'A' && digit <= 'F' ? digit - 'A' + 10
                                          : -1;
}

/* Behind a backslash: the byte that is meant, or -1. */
static int take_escape(struct cursor *cursor)
{
    static const char names[] = "\"\\/bfnrt";
    static const char meant[] = "\"\\/\b\f\n\r\t";

    if (cursor->at == cursor->end) {
        return -1;
    }
    char name = *cursor->at++;
    const char *found = name == '\0' ? NULL : strchr(names, name);
    if (found != NULL) {
        return meant[found - names];
    }
    if (name != 'u' || cursor->end - cursor->at < 4 || cursor->at[0] != '0' ||
        cursor->at[1] != '0') {
        return -1;
    }
    int high = hex_digit(cursor->at[2]);
    int low = hex_digit(cursor->at[3]);
    cursor->at += 4;
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

/* Behind the opening quote. */
static const char *take_string(struct cursor *cursor, struct bytes *bytes)
{
    char *start = cursor->at;
    char *to = start;

    while (cursor->at < cursor->end && *cursor->at != '"') {
        if ((uint8_t)*cursor->at < ' ') {
            return "a control character within a string";
        }
        if (*cursor->at != '\\') {
            *to++ = *cursor->at++;
            continue;
        }
        cursor->at++;
        int byte = take_escape(cursor);
        if (byte < 0) {
            return "an escape that is none of \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\u0000 to \\u00ff";
        }
        *to++ = (char)byte;
    }
    if (cursor->at == cursor->end) {
        return "a string without its closing quote";
    }
    cursor->at++;
    *bytes = bytes_of(start, (size_t)(to - start));
    return NULL;
}

/* Steps over a list or an object, brackets included. */
static const char *skip_nested(struct cursor *cursor)
{
    uint32_t depth = 0;
    bool is_quoted = false;

    while (cursor->at < cursor->end) {
        char found = *cursor->at++;
        if (is_quoted) {
            if (found == '\\' && cursor->at < cursor->end) {
                cursor->at++;
            }
            is_quoted = found != '"';
        } else if (found == '"') {
            is_quoted = true;
        } else if (found == '[' || found == '{') {
            depth++;
        } else if (found == ']' || found == '}') {
            depth--;
            if (depth == 0) {
                return NULL;
            }
        }
    }
    return "a bracket that is never closed";
}

static bool is_of_number(char found)
{
    return (found >= '0' && found <= '9') || found == '-' || found == '+' || found == '.' ||
           found == 'e' || found == 'E';
}

static const char *take_plain(struct cursor *cursor, struct line_value *value)
{
    char *start = cursor->at;

    if (take_word(cursor, "null")) {
        value->kind = LINE_NULL;
    } else if (take_word(cursor, "true")) {
        value->kind = LINE_TRUE;
    } else if (take_word(cursor, "false")) {
        value->kind = LINE_FALSE;
    } else {
        while (cursor->at < cursor->end && is_of_number(*cursor->at)) {
            cursor->at++;
        }
        if (cursor->at == start) {
            return "a value that is not JSON";
        }
        value->kind = LINE_NUMBER;
        value->bytes = bytes_of(start, (size_t)(cursor->at - start));
    }
    return NULL;
}

static const char *take_value(struct cursor *cursor, struct line_value *value)
{
    *value = (struct line_value){.kind = LINE_NULL};
    if (take_character(cursor, '"')) {
        value->kind = LINE_TEXT;
        return take_string(cursor, &value->bytes);
    }
    if (cursor->at < cursor->end && (*cursor->at == '[' || *cursor->at == '{')) {
        char *start = cursor->at + 1;
        value->kind = *cursor->at == '[' ? LINE_LIST : LINE_OTHER;
        const char *fault = skip_nested(cursor);
        if (fault == NULL) {
            value->inside = start;
            value->inside_size = (size_t)(cursor->at - 1 - start);
        }
        return fault;
    }
    return take_plain(cursor, value);
}

const char *line_parse(char *text, size_t size, struct line *line)
{
    struct cursor cursor;

    cursor.at = text;
    cursor.end = text + size;
    line->field_count = 0;
    if (!take_character(&cursor, '{')) {
        return "a line must be a JSON object: { expected";
    }
    if (take_character(&cursor, '}')) {
        return "an object without fields";
    }
    do {
        if (line->field_count == HISTORY_LINE_FIELD_MAX) {
            return "more than 32 fields";
        }
        struct line_field *field = &line->fields[line->field_count++];
        if (!take_character(&cursor, '"')) {
            return "the quoted name of a field expected";
        }
        const char *fault = take_string(&cursor, &field->name);
        if (fault == NULL && !take_character(&cursor, ':')) {
            fault = "no : behind the name of a field";
        }
        if (fault == NULL) {
            fault = take_value(&cursor, &field->value);
        }
        if (fault != NULL) {
            return fault;
        }
    } while (take_character(&cursor, ','));
    if (!take_character(&cursor, '}')) {
        return "no , or } behind a value";
    }
    skip_space(&cursor);
    return cursor.at == cursor.end ? NULL : "something behind the end of the object";
}

const struct line_value *line_find(const struct line *line, const char *name)
{
    for (uint32_t i = 0; i < line->field_count; i++) {
        if (bytes_equal(line->fields[i].name, bytes_of_text(name))) {
            return &line->fields[i].value;
        }
    }
    return NULL;
}

uint32_t line_items(const struct line_value *list, struct line_value *items)
{
    ASSERT(list->kind == LINE_LIST);
    uint32_t count = 0;
    struct cursor cursor = {.at = list->inside, .end = list->inside + list->inside_size};

    skip_space(&cursor);
    if (cursor.at == cursor.end) {
        return 0;
    }
    do {
        skip_space(&cursor);
        if (count == HISTORY_LINE_ITEM_MAX || take_value(&cursor, &items[count]) != NULL ||
            (items[count].kind != LINE_TEXT && items[count].kind != LINE_NUMBER &&
             items[count].kind != LINE_NULL)) {
            return HISTORY_LINE_ITEM_MAX + 1;
        }
        count++;
    } while (take_character(&cursor, ','));
    skip_space(&cursor);
    return cursor.at == cursor.end ? count : HISTORY_LINE_ITEM_MAX + 1;
}
