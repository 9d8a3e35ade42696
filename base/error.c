/* base/error.c: names, texts and outcomes, all expanded from ERROR_LIST. */
#include "base/error.h"

/* Numbers from here on are of this process only and never believed when they come in. */
enum { NUMBER_LOCAL_MIN = 100 };

const char *error_name(enum error error)
{
    switch (error) {
#define ERROR_AS_NAME(name, number, outcome, text)                                                 \
    case ERR_##name:                                                                               \
        return #name;
        ERROR_LIST(ERROR_AS_NAME)
#undef ERROR_AS_NAME
    }
    return "UNKNOWN_ERROR";
}

const char *error_text(enum error error)
{
    switch (error) {
#define ERROR_AS_TEXT(name, number, outcome, text)                                                 \
    case ERR_##name:                                                                               \
        return text;
        ERROR_LIST(ERROR_AS_TEXT)
#undef ERROR_AS_TEXT
    }
    return "an error that this version does not know";
}

enum outcome error_outcome(enum error error)
{
    switch (error) {
#define ERROR_AS_OUTCOME(name, number, outcome, text)                                              \
    case ERR_##name:                                                                               \
        return OUTCOME_##outcome;
        /* Many errors share an outcome. NOLINTNEXTLINE(bugprone-branch-clone) */
        ERROR_LIST(ERROR_AS_OUTCOME)
#undef ERROR_AS_OUTCOME
    }
    return OUTCOME_UNKNOWN;
}

enum error error_from_number(unsigned number)
{
    if (number >= NUMBER_LOCAL_MIN) {
        return ERR_UNKNOWN_OUTCOME;
    }
    switch (number) {
#define ERROR_AS_NUMBER(name, number, outcome, text)                                               \
    case number:                                                                                   \
        return ERR_##name;
        ERROR_LIST(ERROR_AS_NUMBER)
#undef ERROR_AS_NUMBER
    }
    return ERR_UNKNOWN_OUTCOME;
}
