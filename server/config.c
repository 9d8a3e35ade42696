/* server/config.c: settings from flags, environment and INI text into one struct config. */
#include "server/config.h"

#include <ini.h>
#include <string.h>

#include "base/assert.h"
#include "base/duration.h"
#include "server/config_internal.h"

static const char environment_prefix[] = "HOLDFAST_";

/* Set for or by the command `holdfast`: whoever starts a server from such a shell means no harm. */
static const char *const foreign_names[] = {
    "HOLDFAST_ENDPOINTS", "HOLDFAST_LOCK", "HOLDFAST_TOKEN",    "HOLDFAST_DEADLINE_MS",
    "HOLDFAST_TIMEOUT",   "HOLDFAST_JSON", "HOLDFAST_ELECTION",
};

void config_init(struct config *config)
{
    memset(config, 0, sizeof(*config));
    config->election_min_ms = 250;
    config->election_max_ms = 500;
    config->heartbeat_ms = 50;
    config->clock_rate_ppm = 10000;
    config->margin_ms = 100;
    config->max_connections = 1024;
    config->max_sessions = 10000;
    config->max_segments = 1024;
    config->snapshot_log = (uint64_t)64 << 20;
    config->disk_low = (uint64_t)128 << 20;
    config->max_watches = 16384;
    config->watch_memory = (uint64_t)16 << 20;
    config->map_size = (uint64_t)16 << 30;
    config->client_burst = 1000;
}

/* --- Flags ------------------------------------------------------------------------------------ */

static bool flag_is_unknown(struct bytes argument, struct config_problem *problem)
{
    struct text text;

    config_problem_begin(problem, CONFIG_EXIT_USAGE, &text);
    text_add_quoted(&text, argument);
    if (!bytes_has_prefix(argument, bytes_of_text("--"))) {
        text_add(&text, ": holdfastd takes flags only; see holdfastd --help");
        return false;
    }
    text_add(&text, ": there is no such flag; did you mean --");
    text_add(&text, config_setting_nearest(bytes_skip(argument, 2))->name);
    text_add(&text, "? All are listed by holdfastd --help");
    return false;
}

static bool flag_lacks_value(const char *name, struct config_problem *problem)
{
    struct text text;

    config_problem_begin(problem, CONFIG_EXIT_USAGE, &text);
    text_add(&text, "--");
    text_add(&text, name);
    text_add(&text, " needs a value, as --");
    text_add(&text, name);
    text_add(&text, " VALUE");
    return false;
}

/* Splits "--name=value"; `*has_value` is false for "--name". */
static struct bytes flag_name(struct bytes argument, struct bytes *value, bool *has_value)
{
    size_t end = 0;

    if (!bytes_has_prefix(argument, bytes_of_text("--"))) {
        return bytes_of("", 0);
    }
    struct bytes rest = bytes_skip(argument, 2);
    while (end < rest.size && rest.data[end] != '=') {
        end++;
    }
    *has_value = end < rest.size;
    *value = *has_value ? bytes_skip(rest, end + 1) : bytes_of("", 0);
    return bytes_of(rest.data, end);
}

bool config_parse_flags(struct config *config, int argument_count, const char *const *arguments,
                        struct config_problem *problem)
{
    struct config_place place = {.source = CONFIG_SOURCE_FLAGS};

    for (int i = 0; i < argument_count; i++) {
        struct bytes argument = bytes_of_text(arguments[i]);
        struct bytes value;
        bool has_value = false;
        struct bytes name = flag_name(argument, &value, &has_value);
        const struct config_setting *setting = config_setting_find(name);

        if (setting == NULL) {
            return flag_is_unknown(
                bytes_of(argument.data, name.size == 0 ? argument.size : name.size + 2), problem);
        }
        if (!has_value && setting->kind != CONFIG_SWITCH) {
            if (i + 1 == argument_count) {
                return flag_lacks_value(setting->name, problem);
            }
            value = bytes_of_text(arguments[++i]);
        }
        if (!has_value && setting->kind == CONFIG_SWITCH) {
            value = bytes_of_text("true");
        }
        if (!config_setting_apply(config, setting, value, &place, problem)) {
            return false;
        }
    }
    return true;
}

/* --- Environment ------------------------------------------------------------------------------ */

static bool is_foreign(struct bytes name)
{
    for (size_t i = 0; i < COUNT_OF(foreign_names); i++) {
        if (bytes_equal(name, bytes_of_text(foreign_names[i]))) {
            return true;
        }
    }
    return false;
}

/* "ELECTION_MIN" becomes "election-min"; false when it holds what no name has. */
static bool name_from_environment(struct bytes shouted, struct text *name)
{
    for (size_t i = 0; i < shouted.size; i++) {
        uint8_t byte = shouted.data[i];
        uint8_t lower = byte == '_' ? (uint8_t)'-' : (uint8_t)(byte - 'A' + 'a');

        if (byte != '_' && (byte < 'A' || byte > 'Z')) {
            return false;
        }
        text_add_bytes(name, bytes_of(&lower, 1));
    }
    return !name->truncated;
}

static bool environment_is_unknown(struct bytes variable, const struct config_setting *nearest,
                                   struct config_problem *problem)
{
    struct text text;

    config_problem_begin(problem, CONFIG_EXIT_INVALID, &text);
    text_add(&text, "environment ");
    text_add_quoted(&text, variable);
    text_add(&text, ": there is no such setting; did you mean ");
    config_environment_name(nearest, &text);
    text_add(&text, "? Unset it, or see holdfastd --help");
    return false;
}

static bool environment_apply(struct config *config, struct bytes variable,
                              struct config_problem *problem)
{
    struct config_place place = {.source = CONFIG_SOURCE_ENVIRONMENT};
    char memory[64];
    struct text text;
    size_t end = 0;

    while (end < variable.size && variable.data[end] != '=') {
        end++;
    }
    struct bytes name = bytes_of(variable.data, end);
    if (end == variable.size || is_foreign(name)) {
        return true;
    }
    text_init(&text, memory, sizeof(memory));
    bool is_named = name_from_environment(bytes_skip(name, sizeof(environment_prefix) - 1), &text);
    struct bytes lower = bytes_of(text.data, text.size);
    const struct config_setting *setting = is_named ? config_setting_find(lower) : NULL;
    if (setting == NULL) {
        return environment_is_unknown(name, config_setting_nearest(lower), problem);
    }
    return config_setting_apply(config, setting, bytes_skip(variable, end + 1), &place, problem);
}

bool config_parse_environment(struct config *config, const char *const *environment,
                              struct config_problem *problem)
{
    for (size_t i = 0; environment[i] != NULL; i++) {
        struct bytes variable = bytes_of_text(environment[i]);

        if (bytes_has_prefix(variable, bytes_of_text(environment_prefix)) &&
            !environment_apply(config, variable, problem)) {
            return false;
        }
    }
    return true;
}

/* --- INI text --------------------------------------------------------------------------------- */

/* What the reader and the handler of inih share. */
struct ini_run {
    struct config *config;
    struct config_problem *problem;
    struct config_place place; /* Its line is that of the last line read. */
    struct bytes rest;
    bool failed;
};

/* Like config_problem_begin(), with the place; the first problem is the one that is kept. */
static void ini_problem_begin(struct ini_run *run, struct text *text)
{
    run->failed = true;
    config_problem_begin(run->problem, CONFIG_EXIT_INVALID, text);
    config_place_add(&run->place, NULL, text);
}

/* A line that inih would silently cut in two, or one that holds a zero, is a problem. */
static bool ini_line_is_fit(struct ini_run *run, size_t size, size_t capacity)
{
    struct text text;

    if (memchr(run->rest.data, '\0', size) != NULL) {
        ini_problem_begin(run, &text);
        text_add(&text, "the line holds a zero byte; this is no INI file");
        return false;
    }
    if (size + 1 > capacity) {
        ini_problem_begin(run, &text);
        text_add(&text, "the line is longer than ");
        text_add_u64(&text, capacity - 2);
        text_add(&text, " bytes; continue a list on the next line, which begins with a space");
        return false;
    }
    return true;
}

/* Has the contract of fgets(). */
static char *ini_read(char *line, int capacity, void *stream)
{
    struct ini_run *run = stream;
    size_t size = 0;

    ASSERT(capacity > 2);
    if (run->failed || run->rest.size == 0) {
        return NULL;
    }
    while (size < run->rest.size && (size == 0 || run->rest.data[size - 1] != '\n')) {
        size++;
    }
    run->place.line++;
    if (!ini_line_is_fit(run, size, (size_t)capacity)) {
        return NULL;
    }
    memcpy(line, run->rest.data, size);
    line[size] = '\0';
    run->place.is_continued = line[0] == ' ' || line[0] == '\t';
    run->rest = bytes_skip(run->rest, size);
    return line;
}

/* Never says 0 to inih: the reader ends the input after a problem, and `problem` says more. */
static int ini_take(void *user, const char *section, const char *name, const char *value)
{
    struct ini_run *run = user;
    const struct config_setting *setting = config_setting_find(bytes_of_text(name));
    struct text text;

    if (run->failed) {
        return 1;
    }
    if (section[0] != '\0' && strcmp(section, "holdfast") != 0) {
        ini_problem_begin(run, &text);
        text_add(&text, "there is no section [");
        text_add(&text, section);
        text_add(&text, "]; use [holdfast] or none");
        return 1;
    }
    if (setting == NULL) {
        ini_problem_begin(run, &text);
        text_add_quoted(&text, bytes_of_text(name));
        text_add(&text, ": there is no such setting; did you mean ");
        text_add(&text, config_setting_nearest(bytes_of_text(name))->name);
        text_add(&text, "?");
        return 1;
    }
    if (!config_setting_apply(run->config, setting, bytes_of_text(value), &run->place,
                              run->problem)) {
        run->failed = true;
    }
    return 1;
}

bool config_parse_text(struct config *config, const char *path, struct bytes text,
                       struct config_problem *problem)
{
    struct ini_run run = {
        .config = config,
        .problem = problem,
        .place = {.source = CONFIG_SOURCE_FILE, .path = path},
        .rest = text,
    };
    struct text out;

    ASSERT(text.size <= CONFIG_TEXT_SIZE_MAX);
    int line = ini_parse_stream(ini_read, &run, ini_take, &run);
    if (run.failed) {
        return false;
    }
    if (line != 0) {
        run.place.line = line > 0 ? (unsigned)line : 0;
        ini_problem_begin(&run, &out);
        text_add(&out, "this is neither `name = value`, a [section] nor a comment");
        return false;
    }
    return true;
}
